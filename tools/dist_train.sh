#!/usr/bin/env bash
# Train with one process per GPU, or with several processes on a machine without GPUs.
#
#   tools/dist_train.sh CONFIG NUM_PROCESSES [arguments of train.py]
#
# NUM_PROCESSES counts those of one machine. Environment:
#   NNODES NODE_RANK MASTER_ADDR PORT   for several machines (PORT: 29500 there, any free one here)
#   MAX_RESTARTS                        how often to start again when a process or machine is lost;
#                                       needs --resume (default: 0; docs/multi_node.md)
#   OMP_NUM_THREADS                     threads of a process (default: cores / NUM_PROCESSES)
#   PYTHON                              interpreter (default: the active environment's, or .venv's)
#
# SIGTERM and SIGUSR1 to this process reach the training ones: they save after the step at hand and
# end, and so does this one, with status 75. So does Ctrl-C (SIGINT), with status 130; a second one
# ends all at once. The same command with --resume goes on from there.
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG NUM_PROCESSES [arguments of train.py]" >&2
    exit 2
fi
config=$1
processes=$2
shift 2
# shellcheck source=tools/launch_processes.sh
source "$(dirname "${BASH_SOURCE[0]}")/launch_processes.sh"
launch_processes "$processes" train.py "$config" "$@"
