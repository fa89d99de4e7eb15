#!/usr/bin/env bash
# Test with one process per GPU, or with several processes on a machine without GPUs.
#
#   tools/dist_test.sh CONFIG CHECKPOINT NUM_PROCESSES [arguments of test.py]
#
# The environment is that of dist_train.sh.
set -euo pipefail

if [ $# -lt 3 ]; then
    echo "usage: $0 CONFIG CHECKPOINT NUM_PROCESSES [arguments of test.py]" >&2
    exit 2
fi
config=$1
checkpoint=$2
processes=$3
shift 3
# shellcheck source=tools/launch_processes.sh
source "$(dirname "${BASH_SOURCE[0]}")/launch_processes.sh"
launch_processes "$processes" test.py "$config" "$checkpoint" "$@"
