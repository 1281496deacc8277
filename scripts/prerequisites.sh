# Sourced by scripts/up, scripts/test and scripts/install: installs what is missing on a Debian host and says what it
# does. Every function is idempotent. STATE (set by the caller) is where they note what they started or installed,
# so that `scripts/up --down` can take it back.

say() { printf 'longshore: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

need_root() { [ "$(id -u)" = 0 ] || die "run this as root: it installs packages and programs the network"; }

# need_packages PACKAGE... : installs those that are missing.
need_packages() {
  local missing=() package
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || die "needs the packages ${missing[*]}; this is no Debian, so install them by hand"
  say "installing Debian packages: ${missing[*]}"
  apt-get update -qq || say "apt-get update failed; trying with the lists that are here"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$STATE/apt.log" 2>&1 ||
    { tail -n 5 "$STATE/apt.log" >&2; die "installing ${missing[*]} failed; the whole log is $STATE/apt.log"; }
  printf '%s\n' "${missing[@]}" >>"$STATE/installed-packages"
}

# The Engine packages, under the names this release of Debian has.
engine_packages() {
  command -v dockerd >/dev/null && command -v docker >/dev/null && return
  # On a machine whose package lists were never fetched nothing can be looked up.
  apt-cache show docker.io >/dev/null 2>&1 || apt-get update -qq >&2 || true
  printf 'docker.io\n'
  # Since trixie the client is a package of its own.
  apt-cache show docker-cli >/dev/null 2>&1 && printf 'docker-cli\n'
  return 0
}

# ensure_engine: a Docker Engine that answers; starts one if need be.
ensure_engine() {
  if docker info >/dev/null 2>&1; then
    # Debian's package starts the service by itself: an Engine that was not installed before is ours to stop.
    if [ "${HAD_ENGINE:-yes}" = no ] && [ ! -f "$STATE/engine" ]; then printf 'systemd\n' >"$STATE/engine"; fi
    return
  fi
  if iptables -S FORWARD 2>/dev/null | grep -q '^-P FORWARD ACCEPT'; then touch "$STATE/forward-accept"; fi
  if [ -d /run/systemd/system ]; then
    say "starting docker.service"
    systemctl start docker || die "docker.service does not start; see journalctl -u docker"
    printf 'systemd\n' >"$STATE/engine"
  else
    say "starting dockerd (log: $STATE/dockerd.log)"
    setsid dockerd >"$STATE/dockerd.log" 2>&1 </dev/null &
    printf '%s\n' "$!" >"$STATE/engine"
  fi
  for _ in $(seq 150); do
    docker info >/dev/null 2>&1 && return
    sleep 0.2
  done
  die "the Docker Engine does not answer after 30 s; see $STATE/dockerd.log"
}

# stop_engine: stops an Engine that ensure_engine started, and takes its rules and bridge away.
stop_engine() {
  [ -f "$STATE/engine" ] || return 0
  local engine
  engine=$(cat "$STATE/engine")
  rm -f "$STATE/engine"
  if [ "$engine" = systemd ]; then
    say "stopping docker.service"
    systemctl stop docker docker.socket
  elif kill "$engine" 2>/dev/null; then
    say "stopping dockerd"
    for _ in $(seq 100); do kill -0 "$engine" 2>/dev/null || break; sleep 0.1; done
  fi
  local program
  for program in iptables ip6tables; do
    command -v $program-save >/dev/null || continue
    # Docker leaves its chains behind; only lines that name one of them, or its bridge, go.
    $program-save 2>/dev/null | grep -vE '^:DOCKER|^-A DOCKER| -j DOCKER|[io] docker0 ' | $program-restore 2>/dev/null || true
    if [ -f "$STATE/forward-accept" ]; then $program -P FORWARD ACCEPT 2>/dev/null || true; fi
  done
  rm -f "$STATE/forward-accept"
  ip link delete docker0 2>/dev/null || true
}

# ensure_node_modules ROOT: npm ci, unless it was done for this very lock file.
ensure_node_modules() {
  local stamp
  stamp=$(sha256sum <"$1/package-lock.json")
  [ "$(cat "$1/node_modules/.longshore-lock" 2>/dev/null)" = "$stamp" ] && return
  command -v npm >/dev/null || die "needs Node.js with npm to fetch its packages"
  say "installing npm packages (npm ci)"
  (cd "$1" && npm ci --no-audit --no-fund --loglevel=error >"$STATE/npm-ci.log" 2>&1) ||
    { tail -n 20 "$STATE/npm-ci.log" >&2; die "npm ci failed"; }
  printf '%s' "$stamp" >"$1/node_modules/.longshore-lock"
}

# ensure_binary ROOT: dist/longshore, built when a source is newer.
ensure_binary() {
  if [ -x "$1/dist/longshore" ] && [ -z "$(find "$1/src" "$1/package-lock.json" "$1/scripts/build.ts" -newer "$1/dist/longshore" -print -quit)" ]; then
    return
  fi
  say "building dist/longshore"
  (cd "$1" && npm run --silent build >"$STATE/build.log" 2>&1) || { tail -n 20 "$STATE/build.log" >&2; die "the build failed"; }
}

# busybox_rootfs : prints a tar of the image's root file system, made from Debian's busybox-static.
busybox_rootfs() {
  local dir applet
  dir=$(mktemp -d)
  mkdir -p "$dir/bin" "$dir/tmp" "$dir/etc" "$dir/root" "$dir/www"
  chmod 1777 "$dir/tmp"
  cp "$(command -v busybox)" "$dir/bin/busybox"
  for applet in $("$dir/bin/busybox" --list); do [ "$applet" = busybox ] || ln -s busybox "$dir/bin/$applet"; done
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$dir/etc/passwd"
  tar -C "$dir" -c .
  rm -rf "$dir"
}

# ensure_busybox_image : the image of the examples: pulled where a registry is reachable, else made here.
ensure_busybox_image() {
  docker image inspect busybox:latest >/dev/null 2>&1 && return
  if timeout 30 docker pull -q busybox:latest >/dev/null 2>&1; then
    say "pulled the image busybox for the examples"
    return
  fi
  need_packages busybox-static
  busybox_rootfs | docker import -c 'CMD ["sh"]' -c 'ENV PATH=/bin' - busybox:latest >/dev/null
  say "no registry is reachable: made the image busybox from Debian's busybox-static"
  printf 'busybox:latest\n' >>"$STATE/made-images"
}
