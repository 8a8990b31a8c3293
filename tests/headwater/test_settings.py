"""Settings: the environment over the file, the file over a running stack, and a clear word on what is wrong."""

from pathlib import Path

import pytest

from deploy.local.endpoints import Claim, Endpoints
from headwater.reference import render
from headwater.settings import BadSettings, Settings, load, options

CHECKOUT = Path(__file__).resolve().parents[2]
ENDPOINTS = Endpoints(kafka="127.0.0.1:1", redis="127.0.0.1:2", triton_grpc="127.0.0.1:3", triton_http="127.0.0.1:4")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(text: str) -> None:
    Path("headwater.toml").write_text(text)


def test_without_file_and_environment_the_defaults_hold():
    assert load() == Settings.model_construct()


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch):
    write("[kafka]\nbootstrap_servers = 'file:1'\nreplication_factor = 3")
    monkeypatch.setenv("HEADWATER_KAFKA__BOOTSTRAP_SERVERS", "environment:1")
    kafka = load().kafka
    assert (kafka.bootstrap_servers, kafka.replication_factor) == ("environment:1", 3)


def test_a_running_stack_fills_only_what_is_empty():
    write("[kafka]\nbootstrap_servers = 'file:1'")
    with Claim(Path("var")) as claim:
        claim.publish(ENDPOINTS)
        settings = load()
    assert settings.kafka.bootstrap_servers == "file:1"
    assert settings.features.connection_string == "127.0.0.1:2"
    assert settings.triton.grpc_url == "127.0.0.1:3"


def test_var_takes_every_path_below_it_along(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADWATER_VAR", "/data")
    settings = load()
    assert settings.features.log == "/data/feature_log"
    assert settings.media.roots == (Path("/data/media"),)


def test_a_misspelt_option_is_refused_with_the_one_that_was_meant(monkeypatch: pytest.MonkeyPatch):
    write("[kafka]\nbootstrap_server = 'file:1'")
    with pytest.raises(BadSettings, match=r"kafka\.bootstrap_server is no option; did you mean kafka\.bootstrap_servers\?"):
        load()
    write("")
    monkeypatch.setenv("HEADWATER_API__PROT", "1")
    with pytest.raises(BadSettings, match=r"HEADWATER_API__PROT is no option; did you mean api\.port\?"):
        load()


def test_a_value_out_of_bounds_is_refused_with_its_name_and_value():
    write("[stack]\nredis_port = 99999")
    with pytest.raises(BadSettings, match=r"stack\.redis_port: .*65535, got 99999"):
        load()


def test_a_file_that_is_no_toml_is_refused():
    write("kafka = ")
    with pytest.raises(BadSettings, match="is no TOML"):
        load()


def test_a_named_file_that_is_missing_is_refused(folder: Path):
    with pytest.raises(BadSettings, match="no configuration file"):
        load(folder / "nowhere.toml")


def test_librdkafka_settings_may_have_any_name():
    write("[kafka.client]\n'security.protocol' = 'SASL_SSL'")
    assert load().kafka.client == {"security.protocol": "SASL_SSL"}


def test_every_option_says_what_it_is_for():
    assert [name for name, description in options() if not description] == []


def test_the_reference_file_is_what_the_code_says():
    assert (CHECKOUT / "headwater.toml").read_text() == render(), "run `make reference`"


def test_the_reference_file_parses_to_the_defaults():
    assert load(CHECKOUT / "headwater.toml") == Settings.model_construct()
