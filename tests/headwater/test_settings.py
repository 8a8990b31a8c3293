"""Settings: the environment over the file, the file over a running stack, and a clear word on what is wrong."""

import re
import traceback
from pathlib import Path

import msgspec
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


def test_the_stacks_own_language_model_takes_the_place_of_the_one_named():
    write("[understanding]\nurl = 'local'")
    assert load().wants_vllm
    with Claim(Path("var")) as claim:
        claim.publish(msgspec.structs.replace(ENDPOINTS, vllm="127.0.0.1:5"))
        understanding = load().understanding
    assert (understanding.url, understanding.sees_frames) == ("http://127.0.0.1:5", False)
    assert understanding.model == "SmolLM2-135M-Instruct"


@pytest.mark.parametrize("both", [False, True])
def test_one_language_model_of_the_stack_serves_whoever_asks_for_it(both: bool):
    write("[agent]\nurl = 'local'\n" + "[understanding]\nurl = 'local'\n" * both)
    assert load().wants_vllm
    with Claim(Path("var")) as claim:
        claim.publish(msgspec.structs.replace(ENDPOINTS, vllm="127.0.0.1:5"))
        settings = load()
    assert (settings.agent.url, settings.agent.model) == ("http://127.0.0.1:5", "SmolLM2-135M-Instruct")
    assert settings.agent.judged == 8
    assert settings.understanding.url == ("http://127.0.0.1:5" if both else "")
    assert not settings.wants_vllm


def test_a_stack_without_a_language_model_leaves_it_wanted():
    write("[understanding]\nurl = 'local'")
    with Claim(Path("var")) as claim:
        claim.publish(ENDPOINTS)
        assert load().wants_vllm


def test_a_language_model_somewhere_else_is_not_replaced():
    write("[understanding]\nurl = 'http://vllm:8000'")
    with Claim(Path("var")) as claim:
        claim.publish(msgspec.structs.replace(ENDPOINTS, vllm="127.0.0.1:5"))
        settings = load()
    assert not settings.wants_vllm
    assert settings.understanding.url == "http://vllm:8000"


def test_an_address_that_is_none_is_refused():
    write("[understanding]\nurl = 'lokal'")
    with pytest.raises(BadSettings, match=r"understanding\.url: .*local\|https.*got 'lokal'"):
        load()


def test_an_experiment_changes_options_of_the_feed_by_arm():
    write(
        "[[experiments.running]]\nname = 'fresher'\narms = [{ name = 'control', share = 0.5 },"
        " { name = 'fresh', share = 0.5, changes = { weights.freshness = 0.5, 'cold_start.positions' = [2] } }]"
    )
    (experiment,) = load().experiments.running
    assert experiment.arms[1].changes == {"weights.freshness": 0.5, "cold_start.positions": [2]}


def test_the_experiment_of_the_documentation_is_one():
    (example,) = re.findall(r"```toml\n(.*?)```", (CHECKOUT / "docs" / "experiments.md").read_text(), re.DOTALL)
    write(example)
    (experiment,) = load().experiments.running
    assert [arm.name for arm in experiment.arms] == ["control", "fresh"]
    assert experiment.since is not None


def test_an_experiment_that_can_not_be_is_refused_by_the_name_of_what_is_wrong():
    write(
        "[[experiments.running]]\nname = 'fresher'\narms = [{ name = 'control', share = 0.5 },"
        " { name = 'fresh', share = 0.5, changes = { weights.freshnes = 0.5 } }]"
    )
    with pytest.raises(BadSettings, match=r"experiments\.running\.0\.arms\.1\.changes: .*did you mean weights\.freshness\?"):
        load()


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


def test_no_video_leaves_before_the_feed_lets_go_of_it():
    write("[feed]\nmax_age_h = 400")
    with pytest.raises(BadSettings, match=r"flows.video_kept_h is 192 and feed.max_age_h 400"):
        load()
    write("[feed]\nmax_age_h = 400\n[flows]\nvideo_kept_h = 400")
    assert load().flows.video_kept_h == 400


def test_the_reference_file_is_what_the_code_says():
    assert (CHECKOUT / "headwater.toml").read_text() == render(), "run `make reference`"


def test_the_reference_file_parses_to_the_defaults():
    assert load(CHECKOUT / "headwater.toml") == Settings.model_construct()


SECRET = "hunter2-and-more"


@pytest.mark.parametrize(
    "text",
    [
        f"[api]\nkeys = '{SECRET}'",
        f"[api]\nkeys = [{{ key = '{SECRET}', scopes = ['everything'] }}]",
        f"[api]\nkeys = [{{ key = '{SECRET}' }}]",
        f"[api]\nkeys = [{{ key = ['{SECRET}'], scopes = ['feed'] }}]",
        f"[api]\nkeys = [{{ key = 'sha256:{SECRET}', scopes = ['feed'] }}]",
        f"[api]\nkeys = [{{ key = '{SECRET}', scopes = ['feed'] }}]\nport = -1",
        f"[api]\nhost = '0.0.0.0'\nsession_secret = '{SECRET}'",
        f"[api]\nsession_secret = ['{SECRET}']",
        f"[kafka]\nclient = '{SECRET}'",
        f"[kafka.client]\n'sasl.password' = ['{SECRET}']",
        f"[features]\nconnection_string = ['redis:6379,password={SECRET}']",
        f"api = ['{SECRET}']",
    ],
)
def test_an_error_never_shows_a_secret(text: str):
    write(text)
    with pytest.raises(BadSettings) as refused:
        load()
    shown = "".join(traceback.format_exception(refused.value))
    assert SECRET not in shown
    assert "headwater.toml" in str(refused.value)


def test_an_environment_variable_that_is_no_json_is_refused_without_its_value(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADWATER_API__KEYS", f"[{SECRET}")
    with pytest.raises(BadSettings, match="given as JSON") as refused:
        load()
    assert SECRET not in "".join(traceback.format_exception(refused.value))


def test_settings_that_are_printed_show_no_key():
    write(f"[api]\nsession_secret = '{SECRET}'\nkeys = [{{ key = '{SECRET}', scopes = ['feed'], name = 'page' }}]")
    settings = load()
    assert settings.api.keys[0].name == "page"
    assert SECRET not in repr(settings) + str(settings)


def test_the_reference_shows_what_a_key_is_made_of():
    line = next(line for line in render().splitlines() if line.startswith("# who may come in"))
    example = line[line.index("{ key") :]
    for word in ("key", "scopes", "name", "sha256:"):
        assert word in example
