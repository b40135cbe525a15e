"""Uses what is not there yet before it states its version."""
from graphexec.plugin import elementwise, of_the_future

api_version: int = 1000


@elementwise(reference=lambda x: x, domain=(-1.0, 1.0))
def of_another_interface(x):
    return x
