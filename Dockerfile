# docker build -t ssegate .
# docker run -p 8080:8080 -e SSEGATE_LISTEN=0.0.0.0:8080 -e SSEGATE_UPSTREAM=http://llm:11434 ssegate
# docker run -p 8080:8080 -v ./ssegate.yaml:/etc/ssegate/ssegate.yaml:ro ssegate

# The version that the compiled gate is tested with.
FROM python:3.11-slim AS build
# With what a token passes through compiled (pyproject.toml says which files); the compiler stays in this stage.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 HATCH_BUILD_HOOK_ENABLE_MYPYC=1
RUN python -m venv /opt/ssegate
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY ssegate ssegate
# Not editable: the next stage gets the environment and nothing of the sources.
RUN /opt/ssegate/bin/pip install ".[redis]"

FROM python:3.11-slim
COPY --from=build /opt/ssegate /opt/ssegate
ENV PATH=/opt/ssegate/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# `ssegate run` looks for ssegate.yaml here. In a container its listeners are for others: listen: 0.0.0.0:8080
WORKDIR /etc/ssegate
# No name, no home, no shell; nothing is written, so a read-only root file system is fine.
USER 65532:65532
EXPOSE 8080 9464
# The gate itself drains on SIGTERM; give it longer than its `drain` (docker stop --time 30).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["ssegate", "healthcheck"]
ENTRYPOINT ["ssegate"]
CMD ["run"]
