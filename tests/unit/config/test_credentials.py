from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from marketpipe.config import Credentials, find_credentials, find_secret
from marketpipe.shared_kernel.domain.errors import ConfigurationError

SHORT = {"ALPACA_KEY": "short-key", "ALPACA_SECRET": "short-secret"}
LONG = {"APCA_API_KEY_ID": "long-key", "APCA_API_SECRET_KEY": "long-secret"}
OF_SHORT, OF_LONG = Credentials("short-key", "short-secret"), Credentials("long-key", "long-secret")


def dotenv(folder: Path, text: str) -> Path:
    file = folder / ".env"
    file.write_text(text)
    return file


def lines(pair: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in pair.items())


@pytest.mark.parametrize(("environment", "found"), [(SHORT, OF_SHORT), (LONG, OF_LONG), ({**LONG, **SHORT}, OF_SHORT)])
def test_either_pair_of_the_environment_is_found_the_short_one_first(
    environment: dict[str, str], found: Credentials, tmp_path: Path
) -> None:
    assert find_credentials(environment, tmp_path / ".env") == found


@pytest.mark.parametrize(("pair", "found"), [(SHORT, OF_SHORT), (LONG, OF_LONG), ({**LONG, **SHORT}, OF_SHORT)])
def test_either_pair_of_a_dotenv_file_is_found(pair: dict[str, str], found: Credentials, tmp_path: Path) -> None:
    assert find_credentials({}, dotenv(tmp_path, lines(pair))) == found


def test_environment_wins_over_the_dotenv_file_with_either_pair(tmp_path: Path) -> None:
    assert find_credentials(LONG, dotenv(tmp_path, lines(SHORT))) == OF_LONG
    assert find_credentials(SHORT, dotenv(tmp_path, lines(LONG))) == OF_SHORT


@pytest.mark.parametrize(
    "environment",
    [
        {"ALPACA_KEY": "k"},
        {"ALPACA_SECRET": "s"},
        {"ALPACA_KEY": "k", "APCA_API_SECRET_KEY": "s"},
        {"ALPACA_KEY": "k", "ALPACA_SECRET": ""},
        {"ALPACA_KEY": "  ", "ALPACA_SECRET": "s"},
    ],
)
def test_half_a_pair_is_never_completed_from_the_other_pair(environment: dict[str, str], tmp_path: Path) -> None:
    assert find_credentials({**environment, **LONG}, tmp_path / ".env") == OF_LONG
    if environment.keys().isdisjoint(LONG):
        assert find_credentials(environment, dotenv(tmp_path, lines(LONG))) == OF_LONG
    with pytest.raises(ConfigurationError, match="no credentials for Alpaca"):
        find_credentials(environment, dotenv(tmp_path, ""))


@pytest.mark.parametrize("file", [SHORT, {"ALPACA_SECRET": "short-secret"}])
def test_each_variable_wins_over_that_of_the_file_and_both_places_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: dict[str, str]
) -> None:
    path = dotenv(tmp_path, lines(file))
    path.chmod(0o600)
    assert find_credentials({"ALPACA_KEY": "mine"}, path) == Credentials("mine", "short-secret")
    (logged,) = caplog.messages
    assert f"ALPACA_KEY is taken from the environment and ALPACA_SECRET from {path}" in logged
    assert "mine" not in logged


@pytest.mark.parametrize(("found", "missing"), [("ALPACA_KEY", "ALPACA_SECRET"), ("ALPACA_SECRET", "ALPACA_KEY")])
@pytest.mark.parametrize("is_in_file", [False, True])
def test_the_message_says_which_half_was_found_and_where(
    tmp_path: Path, found: str, missing: str, is_in_file: bool
) -> None:
    half = {found: SHORT[found]}
    path = dotenv(tmp_path, lines(half) if is_in_file else "")
    place = path if is_in_file else "the environment"
    with pytest.raises(ConfigurationError, match=f"{found} is in {place}, but {missing} is neither") as refused:
        find_credentials({} if is_in_file else half, path)
    assert SHORT[found] not in str(refused.value)


def test_a_secret_of_a_plugin_is_of_the_environment_or_else_of_the_file(tmp_path: Path) -> None:
    path = dotenv(tmp_path, "ACME_TOKEN= of-the-file \n")
    assert find_secret("ACME_TOKEN", {"ACME_TOKEN": "of-the-environment"}, path) == "of-the-environment"
    found = find_secret("ACME_TOKEN", {"ACME_TOKEN": " "}, path)
    assert (found, repr(found)) == ("of-the-file", "'***'")
    with pytest.raises(ConfigurationError, match=rf"set OTHER_TOKEN in the environment or in {path}"):
        find_secret("OTHER_TOKEN", {}, path)


@pytest.mark.parametrize(
    ("key", "secret"), [pair for pair in product(["", " ", "\t\n", "k"], repeat=2) if "k" not in pair]
)
def test_blank_credentials_are_none(key: str, secret: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no credentials for Alpaca"):
        find_credentials({"ALPACA_KEY": key, "ALPACA_SECRET": secret}, tmp_path / ".env")


def test_message_names_both_pairs_and_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        find_credentials({}, tmp_path / ".env")
    assert str(refusal.value) == (
        "no credentials for Alpaca: set ALPACA_KEY and ALPACA_SECRET or APCA_API_KEY_ID and APCA_API_SECRET_KEY "
        f"in the environment or in {tmp_path / '.env'}"
    )


def test_message_does_not_repeat_the_half_that_was_found(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        find_credentials({"ALPACA_SECRET": "short-secret"}, tmp_path / ".env")
    assert "short-secret" not in str(refusal.value)


def test_space_around_credentials_is_dropped(tmp_path: Path) -> None:
    environment = {"ALPACA_KEY": " short-key\n", "ALPACA_SECRET": "\tshort-secret "}
    assert find_credentials(environment, tmp_path / ".env") == OF_SHORT


@pytest.mark.parametrize(
    "text",
    [
        "ALPACA_KEY=short-key\r\nALPACA_SECRET=short-secret\r\n",
        "export ALPACA_KEY='short-key'  # mine\nexport ALPACA_SECRET=\"short-secret\"\n",
        "# keys\n\nALPACA_KEY = short-key\nALPACA_SECRET = short-secret",
        "\N{BYTE ORDER MARK}ALPACA_KEY=short-key\nALPACA_SECRET=short-secret\n",
    ],
)
def test_dotenv_file_is_read_as_shells_and_editors_write_it(text: str, tmp_path: Path) -> None:
    assert find_credentials({}, dotenv(tmp_path, text)) == OF_SHORT


@pytest.mark.parametrize("text", ["", "ALPACA_KEY\nALPACA_SECRET\n", "ALPACA_KEY=\nALPACA_SECRET=\n", "nonsense {{\n"])
def test_dotenv_file_without_a_pair_gives_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no credentials for Alpaca"):
        find_credentials({}, dotenv(tmp_path, text))


def test_dotenv_that_is_a_folder_is_no_file(tmp_path: Path) -> None:
    assert find_credentials(SHORT, tmp_path) == OF_SHORT


def test_dotenv_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"ALPACA_KEY=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match="cannot be read") as refusal:
        find_credentials({}, file)
    assert str(refusal.value).startswith(f"{file} cannot be read: ")


def test_environment_is_only_read(tmp_path: Path) -> None:
    environment = dict(SHORT)
    find_credentials(environment, dotenv(tmp_path, lines(LONG)))
    assert environment == SHORT


def test_credentials_are_never_shown() -> None:
    shown = f"{OF_SHORT!r} {OF_SHORT} {[OF_SHORT]} { {'credentials': OF_SHORT} }"
    assert "short-key" not in shown
    assert "short-secret" not in shown
    assert repr(OF_SHORT) == "Credentials()"


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True), (0o666, True)]
)
def test_a_dotenv_file_that_others_may_read_causes_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warned: bool
) -> None:
    file = dotenv(tmp_path, lines(SHORT))
    file.chmod(mode)

    find_credentials({}, file)

    assert [f"chmod 600 {file}" in record.getMessage() for record in caplog.records] == [True] * warned
    assert not any(value in caplog.text for value in SHORT.values())


def test_a_dotenv_file_that_is_not_needed_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dotenv(tmp_path, lines(SHORT)).chmod(0o666)

    find_credentials(LONG, tmp_path / ".env")

    assert caplog.records == []
