import pytest

from ssegate.wire.formats import ERRORS, FORMATS, SAME, make
from ssegate.wire.seams import Context

CONTEXT = Context("s1", 1700000000)


@pytest.mark.parametrize("output", FORMATS)
def test_an_output_is_a_format_of_its_name(output):
    """The name in the configuration is the name in the table and on the format."""
    assert make(output, "auto", CONTEXT).name == output


@pytest.mark.parametrize("dialect", SAME)
def test_same_follows_the_dialect(dialect):
    """`same` answers in the language of the upstream."""
    assert make("same", dialect, CONTEXT).name == dialect


@pytest.mark.parametrize("output", FORMATS)
def test_each_stream_has_its_own_format(output):
    """Formats keep state; two streams must not share it."""
    assert make(output, "auto", CONTEXT) is not make(output, "auto", CONTEXT)


def test_every_output_has_an_error_shape_of_its_name():
    """Errors before the stream come in the language of the stream."""
    assert set(FORMATS) <= set(ERRORS)
