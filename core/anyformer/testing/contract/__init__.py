"""What every task of every plugin must satisfy, a test for each promise: of its data, of its learning, of its answers.

Each test asks one task, `subject`, which runs over the tasks of all installed plugins. A failure says what an author has to
mend.
"""

from __future__ import annotations

import pytest

from anyformer import plugins
from anyformer.testing import OPTION
from anyformer.testing.subject import Small, Subject

__all__ = ["fresh", "pytest_generate_tests", "subject"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every domain and every task that was not left out."""
    given: str = metafunc.config.getoption(OPTION, None) or metafunc.config.getini(OPTION)
    only = {name.strip() for name in given.split(",")} - {""}
    found = [status.name for status in plugins.plugins() if status.state not in ("disabled", "restricted")]
    if missing := sorted(only - set(found)):
        raise pytest.UsageError(f"no plugin {missing[0]!r} is in use; there are: {', '.join(found) or 'none'}")
    domains = [name for name in dict.fromkeys(found) if not only or name in only]
    if "domain" in metafunc.fixturenames:
        metafunc.parametrize("domain", domains)
    if "subject" in metafunc.fixturenames:
        ids = [id for id in plugins.tasks() if id.partition("/")[0] in domains]
        metafunc.parametrize("subject", ids, indirect=True, scope="session")


@pytest.fixture(scope="session")
def subject(request: pytest.FixtureRequest) -> Subject:
    """A task."""
    return Subject.of(request.param)


@pytest.fixture
def fresh(subject: Subject) -> Small:
    """A small model of it that has learned nothing."""
    return subject.model()
