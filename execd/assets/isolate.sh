#!/bin/sh
# Becomes an isolated session: usage isolate.sh new|own LAYERS… -- COMMAND…
#
# It runs in a mount namespace of its own. LAYERS are five paths for each overlay: the directory below, where that is bound
# to, upper, work and the joined directory. COMMAND is bwrap, which builds the session of what is mounted here.
#
# "new": this is the first process of a new user namespace whose ids nobody has mapped yet. It says so on descriptor 3 and waits
# there until that is done. Its capabilities are ambient: where no program may gain any, an ordinary root would begin with none.

if [ "$1" = new ]; then
  printf n >&3
  read -r _ <&3 || exit 1
fi
shift
exec 3>&-
while [ "$1" != -- ]; do
  # Bound first, because a path may have characters that separate the options of a mount.
  $ISOLATE_MOUNT --bind "$1" "$2" || exit 1
  $ISOLATE_MOUNT -t overlay overlay -o "lowerdir=$2,upperdir=$3,workdir=$4,userxattr" "$5" || exit 1
  shift 5
done
shift
unset ISOLATE_MOUNT
exec "$@"
