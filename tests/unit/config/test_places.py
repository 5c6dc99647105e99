"""URLs of places that are on no disk: which are taken, which refused, and that no secret is quoted."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from attrs import evolve

from marketpipe.config import StoreConfig, load_config, values_in_force
from marketpipe.config.places import POSTGRESQL, S3, is_on_disk, place_of, scheme_of, url_of
from marketpipe.shared_kernel.domain.errors import ConfigurationError, ValidationError

DATABASE = "postgresql://marketpipe@localhost:5432/bars"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("s3://bucket/prefix", "/s3:/bucket/prefix"),
        ("s3://my.bucket-1/a/b_c=d/", "/s3:/my.bucket-1/a/b_c=d"),
        (DATABASE, "/postgresql:/marketpipe@localhost:5432/bars"),
        ("postgres://localhost/bars", "/postgresql:/localhost/bars"),
        ("postgresql://me@/bars?host=/var/run/postgresql", "/postgresql:/me@/bars?host=/var/run/postgresql"),
        ("postgresql://[::1]:5432/bars?sslmode=require", "/postgresql:/[::1]:5432/bars?sslmode=require"),
    ],
)
def test_a_url_is_a_path_that_is_meant_for_no_disk_and_comes_back(url: str, path: str) -> None:
    place = place_of(url, S3, POSTGRESQL)

    assert place == Path(path)
    assert place == place_of(place, S3, POSTGRESQL) == place_of(Path(url), S3, POSTGRESQL)
    assert url_of(place) == url.rstrip("/").replace("postgres://", "postgresql://")
    assert not is_on_disk(place)


@pytest.mark.parametrize("path", ["data", "/srv/data", "s3", "/srv/s3:/x", "gs:/bucket/x", ".", ""])
def test_all_other_paths_are_on_a_disk(path: str) -> None:
    assert scheme_of(Path(path)) is None
    assert place_of(path, S3, POSTGRESQL) is None
    assert url_of(Path(path)) == str(Path(path))


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("s3:", "expected s3://bucket/prefix"),
        ("s3://", "expected s3://bucket/prefix"),
        ("s3://bucket", "s3://bucket/marketpipe"),
        ("s3://bucket/", "s3://bucket/marketpipe"),
        ("s3://Bucket/x", "3 to 63 of a-z"),
        ("s3://bucket/a/../b", "single slashes"),
        ("s3://bucket/a b", "single slashes"),
        ("s3://bucket/x?versionId=1", "single slashes"),
        ("s3://key:hidden@bucket/x", "AWS_SECRET_ACCESS_KEY in the environment"),
        ("postgresql://me:hidden@localhost/bars", "the file that PGPASSFILE names"),
        ("postgresql://me:@localhost/bars", "PGPASSFILE"),
        ("postgresql://me@localhost/bars?password=hidden", "PGPASSFILE"),
        ("postgresql://localhost", "expected postgresql://user@host:5432/database"),
        ("postgresql:///bars", "expected postgresql://"),
        ("postgresql://localhost:many/bars", "expected postgresql://"),
        ("postgresql://localhost/a//b", "expected postgresql://"),
        ("postgresql://localhost/a/b", "expected postgresql://"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_what_may_be_a_secret(url: str, wanted: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        place_of(url, S3, POSTGRESQL)
    assert wanted in str(refusal.value)
    assert "hidden" not in str(refusal.value)


def test_the_areas_of_a_store_in_a_bucket_are_beside_its_prefix() -> None:
    config = StoreConfig(root="/srv", output_path="s3://bucket/bars", state_path=DATABASE)

    assert url_of(config.aggregates_path) == "s3://bucket/bars_aggregates"
    assert url_of(config.official_path) == "s3://bucket/bars_official"
    assert config.store_name == "s3://bucket/bars"
    assert evolve(config) == pickle.loads(pickle.dumps(config)) == config


def test_a_bucket_has_no_state_and_no_area_elsewhere() -> None:
    with pytest.raises(ConfigurationError, match=r"^state_path: it must be named .* s3://bucket/bars.*postgresql://"):
        StoreConfig(output_path="s3://bucket/bars")
    with pytest.raises(
        ConfigurationError, match=r"^revisions_path: it cannot be named for a store at s3://bucket/bars"
    ):
        StoreConfig(output_path="s3://bucket/bars", state_path="s.sqlite", revisions_path="elsewhere")


def test_a_configuration_shows_urls(tmp_path: Path) -> None:
    file = tmp_path / "marketpipe.yaml"
    file.write_text(
        "provider: synthetic\nsymbols: [A]\nstart: 2024-01-02\nend: 2024-01-02\n"
        f"output_path: s3://bucket/bars\nstate_path: {DATABASE}\n"
    )
    shown = {each.key: each for each in values_in_force(load_config(file), file, {}, {})}

    assert (shown["output_path"].value, shown["output_path"].origin) == ("s3://bucket/bars", "file")
    assert (shown["state_path"].value, shown["state_path"].origin) == (DATABASE, "file")
    assert (shown["copies_path"].value, shown["copies_path"].origin) == ("s3://bucket/bars_copies", "default")


def test_a_message_has_the_url_where_its_maker_had_the_path() -> None:
    error = ConfigurationError(f"nothing is at {Path('/s3:/bucket/bars')}; /srv/s3:/x is another")
    assert str(error) == "nothing is at s3://bucket/bars; /srv/s3:/x is another"
