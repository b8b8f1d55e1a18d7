#!/usr/bin/env bash
# A SLURM of one node, this machine, in <folder>, until whoever started it ends or stops it.
#     tests/one_node_slurm.sh <folder>
# Needs Debian's slurmctld, slurmd and munge, and root. Says "up" when it takes jobs. To use it:
#     export SLURM_CONF=<folder>/slurm.conf PATH=<folder>/bin:$PATH
set -euo pipefail
mkdir -p "$1"/{bin,munge,state,spool}
cd "$1"
export SLURM_CONF=$PWD/slurm.conf
free='import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'

chmod 700 munge
(umask 077 && head -c 128 /dev/urandom >munge/key)
cat >slurm.conf <<END
ClusterName=one
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$(python3 -c "$free")
SlurmdPort=$(python3 -c "$free")
SlurmUser=root
AuthInfo=socket=$PWD/munge/socket
StateSaveLocation=$PWD/state
SlurmdSpoolDir=$PWD/spool
SlurmctldPidFile=$PWD/slurmctld.pid
SlurmdPidFile=$PWD/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherParams=OverMemoryKill
JobAcctGatherFrequency=1
AccountingStorageType=accounting_storage/none
MpiDefault=none
KillWait=2
$(slurmd -C | head -1) NodeAddr=127.0.0.1
PartitionName=all Nodes=ALL Default=YES
END
# Snakemake's plugin takes SLURM_CONF out of the environment of the srun that it calls on the node.
printf '#!/bin/sh\nSLURM_CONF=%q exec %q "$@"\n' "$SLURM_CONF" "$(command -v srun)" >bin/srun
chmod +x bin/srun

stop() {
  scancel --user "$USER" || true
  for _ in {1..20}; do [ -n "$(squeue --noheader)" ] && sleep 0.5; done
  kill $(jobs -p)
  wait
}
export USER=${USER:-$(id -un)}
trap stop EXIT
trap exit TERM INT  # setsid keeps a Ctrl-C from those that stop() still needs
setsid munged --force --foreground --key-file="$PWD/munge/key" --socket="$PWD/munge/socket" \
  --pid-file="$PWD/munge/pid" --seed-file="$PWD/munge/seed" >munged.log 2>&1 &
for _ in {1..50}; do [ -S munge/socket ] && break || sleep 0.1; done
setsid slurmctld -D >slurmctld.log 2>&1 &
setsid slurmd -D >slurmd.log 2>&1 &
for _ in {1..60}; do [ "$(sinfo --noheader --format=%t 2>&1)" = idle ] && break || sleep 0.5; done
[ "$(sinfo --noheader --format=%t)" = idle ] && echo up
while kill -0 $PPID; do sleep 0.5; done 2>/dev/null
