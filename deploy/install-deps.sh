#!/bin/sh
# Installs the servers that are missing, on Debian and Ubuntu as root. Anywhere
# else it does nothing: flashsale itself names the line to type.
#
#   install-deps.sh [test] [race] [netns]
#
#   test  what tests look through, a browser, and what they check deploy/ with,
#         promtool and docker-compose (without an engine)
#   race  a C compiler, for the race detector
#   netns ip, to set network namespaces up
#
# DEPS_DRY_RUN=1 prints what would be installed.
set -eu

has() { command -v "$1" >/dev/null 2>&1; }

has_initdb() {
	has initdb && return
	for initdb in /usr/lib/postgresql/*/bin/initdb; do
		[ -x "$initdb" ] && return
	done
	return 1
}

# wants WORD WORDS...: is the word among them?
wants() {
	word=$1
	shift
	case " $* " in *" $word "*) return 0 ;; esac
	return 1
}

missing_packages() {
	if [ -z "${REDIS_URL:-}${REDIS_HOST:-}" ] && ! has redis-server && ! has valkey-server; then
		echo redis-server
	fi
	if [ -z "${DATABASE_URL:-}${DATABASE_HOST:-}" ] && ! has_initdb; then
		echo postgresql
	fi
	if wants test "$@" && ! has chromium && ! has chromium-browser && ! has google-chrome; then
		echo chromium
	fi
	if wants test "$@" && ! has promtool; then
		echo prometheus
	fi
	if wants test "$@" && ! has docker-compose; then
		echo docker-compose
	fi
	if wants race "$@" && ! has gcc && ! has cc && ! has clang; then
		echo gcc libc6-dev
	fi
	if wants netns "$@" && ! has ip; then
		echo iproute2
	fi
}

# shellcheck disable=SC2046 # one word for each package
set -- $(missing_packages "$@")
[ $# -gt 0 ] || exit 0
if ! has apt-get || [ ! -e /etc/debian_version ]; then
	exit 0
fi
if [ "${DEPS_DRY_RUN:-}" = 1 ]; then
	echo "would install: $*"
	exit 0
fi
[ "$(id -u)" = 0 ] || exit 0

# flashsale starts servers of its own. The packages must not, on ports that
# somebody else may want, so a policy forbids it while they are installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	trap 'rm -f "$policy"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

echo "installing: $*"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "$@"
