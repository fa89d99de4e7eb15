#!/usr/bin/env bash
# Train on a Slurm cluster, one task per GPU.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]
#
# Environment:
#   GPUS             GPUs altogether (default: 8)
#   GPUS_PER_NODE    GPUs of a machine (default: 8, or GPUS if that is less)
#   CPUS_PER_TASK    cores for each GPU (default: 5)
#   SRUN_ARGS        more arguments for srun, such as "--time=24:00:00 --account=mine"
#   MASTER_PORT      port of the first machine (default: 29500; two jobs there need two)
#   PYTHON           interpreter (default: the active environment's, or .venv's)
set -euo pipefail

if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]" >&2
    exit 2
fi
partition=$1
job_name=$2
config=$3
work_dir=$4
shift 4
gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
read -r -a srun_args <<< "${SRUN_ARGS:-}"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tools/launch_processes.sh
source "$root/tools/launch_processes.sh"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

exec srun --partition="$partition" --job-name="$job_name" --gres=gpu:"$gpus_per_node" \
    --ntasks="$gpus" --ntasks-per-node="$gpus_per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 ${srun_args[@]+"${srun_args[@]}"} \
    "$(find_python "$root")" -u "$root/tools/train.py" "$config" --work-dir "$work_dir" \
    --launcher slurm "$@"
