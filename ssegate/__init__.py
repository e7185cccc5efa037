"""ssegate: a streaming sidecar for LLM endpoints."""

from importlib.metadata import version

__version__ = version("ssegate")
