#!/bin/sh
# A command for `workloads:` (see canary-test.yaml), to start from. This one keeps what it was told in files and says that it
# is so; put what runs your pods where it says HERE.
#
# The request comes as JSON on stdin and, for scripts like this, in the environment. The answer is JSON on stdout; stderr is
# for people. The same request may come again at any time and must then change nothing. What is started here and is to go on
# running needs a session of its own, and needs it before this script ends, which kills the rest of its own:
#   setsid -w sh -c 'SERVER > LOG 2>&1 < /dev/null &'
set -eu
state="${WORKLOADS_STATE:-.workloads}/$SLUICEGATE_ROLLOUT"
mkdir -p "$state"

case "$SLUICEGATE_DO" in
apply)
  # HERE: make this role SLUICEGATE_REPLICAS times SLUICEGATE_VERSION; 0 means that it should go. Do not wait until it is ready.
  printf '%s\n%s\n' "$SLUICEGATE_REPLICAS" "$SLUICEGATE_VERSION" > "$state/$SLUICEGATE_ROLE.new"
  mv "$state/$SLUICEGATE_ROLE.new" "$state/$SLUICEGATE_ROLE"
  echo '{}'
  ;;
observe)
  separator='{'
  for role in main baseline canary; do
    replicas=0 version=
    if [ -e "$state/$role" ]; then
      { read -r replicas; IFS= read -r version; } < "$state/$role"
    elif [ "$role" = main ]; then
      replicas=1 version=unknown # what runs before the first rollout
    fi
    ready=$replicas # HERE: how many of that version can serve requests now
    escaped=$(printf '%s' "$version" | sed 's/[\\"]/\\&/g')
    printf '%s"%s":{"version":"%s","replicas":%s,"ready":%s}' "$separator" "$role" "$escaped" "$replicas" "$ready"
    separator=,
  done
  echo '}'
  ;;
*)
  echo "this command knows observe and apply, not $SLUICEGATE_DO" >&2
  exit 1
  ;;
esac
