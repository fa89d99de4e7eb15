#!/usr/bin/env bash
# Train on a Slurm cluster, one task per GPU.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of train.py]
#
# Interactive (srun) unless REQUEUE=1: then a batch job is submitted, which saves and puts itself
# back in the queue before its time limit or when it is preempted, as often as needed, and goes on
# from its last checkpoint each time. `scancel` ends it for good.
#
#   REQUEUE=1 SRUN_ARGS="--time=24:00:00" tools/slurm_train.sh gpu mae configs/... work_dirs/mae
#
# In a batch script of one's own REQUEUE=1 does the same from within the job; the script then has
# `#SBATCH --requeue --open-mode=append --signal=USR1@300`.
#
# Environment:
#   GPUS             GPUs altogether (default: 8)
#   GPUS_PER_NODE    GPUs of a machine (default: 8, or GPUS if that is less)
#   CPUS_PER_TASK    cores for each GPU (default: 5)
#   SRUN_ARGS        more arguments for srun, or for sbatch with REQUEUE=1, such as
#                    "--time=24:00:00 --account=mine"
#   REQUEUE          1 for a batch job that requeues itself (default: 0)
#   SIGNAL_SECONDS   how long before its time limit that job is told to save (default: 300; a step,
#                    a refresh's batch or a k-NN probe is finished first)
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
gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
requeue=${REQUEUE:-0}
read -r -a more_args <<< "${SRUN_ARGS:-}"
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
job=(--partition="$partition" --job-name="$job_name" --gres=gpu:"$gpus_per_node"
    --ntasks="$gpus" --ntasks-per-node="$gpus_per_node" --cpus-per-task="${CPUS_PER_TASK:-5}")

if [ "$requeue" = 1 ] && [ -z "${SLURM_JOB_ID:-}" ]; then
    # Slurm runs a copy of a script from a separate folder, without the other scripts.
    # Without `B:`, the signal goes to the tasks, and not to the shell that waits for them.
    exec sbatch "${job[@]}" --requeue --open-mode=append --signal=USR1@"${SIGNAL_SECONDS:-300}" \
        ${more_args[@]+"${more_args[@]}"} \
        --wrap "SRUN_ARGS= exec bash $(printf '%q ' "$root/tools/slurm_train.sh" "$@")"
fi

shift 4
# shellcheck source=tools/launch_processes.sh
source "$root/tools/launch_processes.sh"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
run=(srun "${job[@]}" --kill-on-bad-exit=1 ${more_args[@]+"${more_args[@]}"}
    "$(find_python "$root")" -u "$root/tools/train.py" "$config" --work-dir "$work_dir"
    --launcher slurm "$@")
if [ "$requeue" != 1 ]; then
    exec "${run[@]}"
fi

# The last --resume counts: after the first time, not the checkpoint that was named for it.
if [ "${SLURM_RESTART_COUNT:-0}" != 0 ]; then
    run+=(--resume)
fi
status=0
"${run[@]}" || status=$?
# REQUEUE_STATUS of amt_mm/errors.py: stopped by a signal, and saved.
if [ "$status" = 75 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
