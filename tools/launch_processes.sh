#!/usr/bin/env bash
# Sourced by dist_train.sh, dist_test.sh and slurm_train.sh.

# An interpreter that was chosen, by name or by an active environment, goes before .venv.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        echo "$PYTHON"
    elif [ -z "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && [ -x "$1/.venv/bin/python" ]; then
        echo "$1/.venv/bin/python"
    else
        echo python
    fi
}

# launch_processes NUM_PROCESSES TOOL ARGUMENTS...
launch_processes() {
    local processes=$1 tool=$2 root cores
    shift 2
    if ! [[ $processes =~ ^[1-9][0-9]*$ ]]; then
        echo "error: NUM_PROCESSES is a number of at least 1, not '$processes'" >&2
        exit 2
    fi
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
    # Left to itself, torchrun gives each process one thread.
    cores=$(getconf _NPROCESSORS_ONLN)
    export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cores > processes ? cores / processes : 1))}
    # Warnings of its C++ parts, with stacks, about connections that end where a process does.
    export TORCH_CPP_LOG_LEVEL=${TORCH_CPP_LOG_LEVEL:-ERROR}
    export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

    local rendezvous restarts=${MAX_RESTARTS:-0}
    if ! [[ $restarts =~ ^[0-9]+$ ]]; then
        echo "error: MAX_RESTARTS is a number, not '$restarts'" >&2
        exit 2
    fi
    if [ "${NNODES:-1}" = 1 ] && [ -z "${PORT:-}" ]; then
        # A free port, and an address that needs no name service.
        rendezvous=(--standalone --local-addr 127.0.0.1)
    elif [ "$restarts" != 0 ]; then
        # The one below knows no machine that comes back. The first machine keeps the list of them.
        rendezvous=(--nnodes "${NNODES:-1}" --rdzv-backend c10d --rdzv-id amt_mm
            --rdzv-endpoint "${MASTER_ADDR:-127.0.0.1}:${PORT:-29500}"
            --rdzv-conf "is_host=$([ "${NODE_RANK:-0}" = 0 ] && echo 1 || echo 0)")
    else
        rendezvous=(--nnodes "${NNODES:-1}" --node-rank "${NODE_RANK:-0}"
            --master-addr "${MASTER_ADDR:-127.0.0.1}" --master-port "${PORT:-29500}")
    fi
    if [ "$restarts" != 0 ]; then
        rendezvous+=(--max-restarts "$restarts")
        # A machine that comes back would wait for an address that the others have known for long.
        export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    fi
    exec "$(find_python "$root")" "$root/tools/launch_processes.py" "${rendezvous[@]}" \
        --nproc-per-node "$processes" "$root/tools/$tool" "$@" --launcher pytorch
}
