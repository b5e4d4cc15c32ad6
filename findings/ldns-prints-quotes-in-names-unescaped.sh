#!/bin/sh
# Software:    ldns, Debian 12: ldnsutils, libldns3 1.8.3-1+b1. Peers: BIND 1:9.18.49-1~deb12u3, NSD 4.6.1-1.
# Input:       valid zones in which a name, owner or in RDATA, has a quote character, written \" or \034 (RFC 1035 5.1).
# Expected:    ldns reads these names, so what it prints is read as the same records by it, BIND and NSD. A quote
#              begins a quoted string in a zone file (RFC 1035 5.1), so in a name it is escaped, as ldns does with
#              . ; ( ) and \ and as the peers do: BIND prints a\"b, NSD a\034b (but a"b in NSEC and RRSIG).
# Behaviour:   ldns prints a"b, as owner and in the RDATA of each type listed below. BIND and NSD refuse each of these
#              texts. ldns reads the bare names again, but takes the quote for the start of a quoted string, so that the
#              quoted strings after it on the line count as unquoted: of a TXT or CAA with a ; ldns-read-zone drops the
#              rest from there on and ends with 0; a HINFO or NAPTR with a ; it refuses.
# Consequence: what ldns-read-zone or ldns-signzone writes may not load in BIND or NSD; ldns-verify-zone finds a bogus
#              signature in a zone just signed by ldns-signzone. All goes well where the owner is q, not q"q. Whoever
#              keeps or hands on records as text from ldns must escape the quotes in names.
# Upstream:    the list of escaped characters was the same in its develop branch of 2024-12-04 (310ae27b).
# Fails when the behaviour is another. Needs apt-get, dpkg and a mirror of Debian 12; listens nowhere; cleans up.
set -eu
ldns=1.8.3-1+b1
bind=1:9.18.49-1~deb12u3
nsd=4.6.1-1

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
cd "$folder"

packages="ldnsutils=$ldns libldns3=$ldns bind9-utils=$bind bind9-libs=$bind nsd=$nsd"
for library in libcap2 libevent-2.1-7 libfstrm0 libgssapi-krb5-2 libicu72 libjemalloc2 libjson-c5 libkrb5-3 liblmdb0 \
    libmaxminddb0 libnghttp2-14 libprotobuf-c1 libssl3 libsystemd0 libuv1 libxml2; do
    dpkg -s "$library" >/dev/null 2>&1 || packages="$packages $library"
done
# shellcheck disable=SC2086 # a list
apt-get download -q -q $packages 2>/dev/null
for package in *.deb; do dpkg -x "$package" root; done
LD_LIBRARY_PATH=$(find "$folder/root" -name '*.so*' -printf '%h\n' | sort -u | paste -s -d :)
export LD_LIBRARY_PATH

result=0
# expect WHAT WANTED GOT
expect() {
    if [ "$2" = "$3" ]; then echo "$1: $3"; else
        echo "$1: $3 (was: $2)"
        result=1
    fi
}
read_zone() { root/usr/bin/ldns-read-zone "$@"; }
# -k ignore: names with a quote are valid names, though no host names
compile_zone() { root/usr/bin/named-compilezone -i none -k ignore -n ignore -o "$2" example "$1" >"$2.log" 2>&1; }
nsd_zone() { root/usr/sbin/nsd-checkzone "$@" 2>/dev/null; }
# zone RECORD: a zone with this record; one of type SOA takes the place of its SOA
zone() {
    # shellcheck disable=SC2016 # directives
    printf '$ORIGIN example.\n$TTL 3600\n'
    case $1 in '@ SOA'*) ;; *) echo '@ SOA ns admin 1 3600 600 86400 300' ;; esac
    printf '%s\n' "$1" '@ NS ns' 'ns A 192.0.2.1'
}

read_zone -v | sed -n 's/^.*ldns version \(.*\))$/version: ldns \1/p'
root/usr/bin/named-compilezone -v | sed 's/^/version: BIND /'

# 1. One quote in one name of one record
total=0 in_bind=0 in_nsd=0 bare=0 bind_escaped=0 nsd_escaped=0 bind_again=0 bind_to_ldns=0 out_bind=0 out_nsd=0
names_again=0
while IFS= read -r record; do
    total=$((total + 1))
    zone "$record" >in.zone
    read_zone in.zone >ldns.zone
    if compile_zone in.zone bind.zone; then in_bind=$((in_bind + 1)); fi
    if nsd_zone -p example in.zone >nsd.zone; then in_nsd=$((in_nsd + 1)); fi
    if grep -q 'a"b\.example\.' ldns.zone; then bare=$((bare + 1)); fi
    if grep -q 'a\\"b\.example\.' bind.zone; then bind_escaped=$((bind_escaped + 1)); fi
    if grep -q 'a\\034b' nsd.zone; then nsd_escaped=$((nsd_escaped + 1)); fi
    # what BIND wrote
    if compile_zone bind.zone again.zone && cmp -s bind.zone again.zone; then bind_again=$((bind_again + 1)); fi
    read_zone -z bind.zone >left
    read_zone -z ldns.zone >right
    if cmp -s left right; then bind_to_ldns=$((bind_to_ldns + 1)); fi
    # what ldns wrote
    if compile_zone ldns.zone again.zone; then out_bind=$((out_bind + 1)); fi
    if nsd_zone example ldns.zone >again.zone; then out_nsd=$((out_nsd + 1)); fi
    read_zone ldns.zone >again.zone
    if cmp -s ldns.zone again.zone; then names_again=$((names_again + 1)); fi
done <<'EOF'
a\"b A 192.0.2.9
a\034b A 192.0.2.9
*.a\"b A 192.0.2.9
@ SOA a\"b admin 1 3600 600 86400 300
@ SOA ns a\"b 1 3600 600 86400 300
n NS a\"b
n CNAME a\"b
n CNAME a\034b
n DNAME a\"b
n PTR a\"b
n MX 10 a\"b
n AFSDB 1 a\"b
n RT 1 a\"b
n KX 1 a\"b
n SRV 1 2 3 a\"b
n NAPTR 1 2 "s" "x" "" a\"b
n RP a\"b .
n RP . a\"b
n MINFO a\"b .
n MINFO . a\"b
n PX 1 a\"b .
n PX 1 . a\"b
n MB a\"b
n MG a\"b
n MR a\"b
n LP 10 a\"b
n SVCB 1 a\"b
n HTTPS 1 a\"b
n NSEC a\"b A
n RRSIG A 8 2 3600 20300101000000 20200101000000 1 a\"b AAAA
EOF
expect "records with a quote in a name, read by ldns" 30 $total
expect "read by BIND" 30 $in_bind
expect "read by NSD" 30 $in_nsd
expect "printed bare by ldns" 30 $bare
expect "printed escaped by BIND" 30 $bind_escaped
expect "printed escaped by NSD (all but NSEC and RRSIG)" 28 $nsd_escaped
expect "BIND's text read by BIND as the same" 30 $bind_again
expect "BIND's text read by ldns as the same" 30 $bind_to_ldns
expect "ldns's text read by BIND" 0 $out_bind
expect "ldns's text read by NSD" 0 $out_nsd
expect "ldns's text read by ldns as the same" 30 $names_again
for record in 'a\"b A 192.0.2.9' 'n CNAME a\"b'; do
    zone "$record" >in.zone
    read_zone in.zone >ldns.zone
    grep '"' ldns.zone | sed 's/^/ldns: /'
    compile_zone ldns.zone again.zone || sed -n '1s/^/BIND of it: /p' again.zone.log
    { root/usr/sbin/nsd-checkzone example ldns.zone 2>&1 || true; } | sed -n 's/^.*: error: /NSD of it: /;1p'
done

# 2. An owner with a quote, and a ; within a quoted string: what does ldns read of its own text?
# again OWNER RDATA: type and RDATA that ldns reads of what it printed, or "refused"
again() {
    zone "$1 $2" >in.zone
    read_zone in.zone >ldns.zone
    if read_zone ldns.zone >again.zone 2>again.log; then
        sed -n "s/^q.*IN$(printf '\t')//p" again.zone | tr '\t' ' '
    else
        echo refused
    fi
}
while IFS='|' read -r text wanted; do
    expect "of $text, owner q" "$text" "$(again q "$text")"
    expect "of $text, owner q\"q" "$wanted" "$(again 'q\"q' "$text")"
done <<'EOF'
TXT "v=DMARC1; p=reject"|TXT "v=DMARC1"
CAA 0 issue "ca.example; policy=ev"|CAA 0 issue "ca.example"
HINFO "a;b" "c"|refused
NAPTR 1 2 "u" "x" "!^.*;$!a!" .|refused
EOF

# 3. A zone signed by ldns-signzone
key=$(root/usr/bin/ldns-keygen -a ECDSAP256SHA256 -k example)
for owner in q 'q\"q'; do
    zone "$owner TXT \"v=DMARC1; p=reject\"" >in.zone
    root/usr/bin/ldns-signzone -o example. -f signed.zone in.zone "$key"
    if root/usr/bin/ldns-verify-zone signed.zone >verify.log 2>&1; then verified=yes; else verified=no; fi
    if compile_zone signed.zone again.zone; then loaded=yes; else loaded=no; fi
    if [ "$owner" = q ]; then wanted=yes; else
        wanted=no
        expect "ldns-verify-zone" "Error: Bogus DNSSEC signature for q\"q.example. TXT" \
            "$(tr '\t' ' ' <verify.log | grep Bogus || true)"
    fi
    expect "signed, owner $owner, verified by ldns" $wanted $verified
    expect "signed, owner $owner, read by BIND" $wanted $loaded
done

if [ $result -eq 0 ]; then echo "as described"; else echo "the behaviour has changed"; fi
exit $result
