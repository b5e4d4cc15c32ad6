#!/bin/sh
# Software:    ldns, Debian 12: ldnsutils, libldns3 1.8.3-1+b1. Peers: BIND 1:9.18.49-1~deb12u3, NSD 4.6.1-1.
# Input:       valid zones in which a name, owner or in RDATA, begins with the character @, written \@ or \064.
# Expected:    a free-standing @ is the origin; \@ and \064 are text without that meaning (RFC 1035 5.1), so that \@ is
#              a label of one character. BIND and NSD read it so; BIND prints \@, NSD \064 (but @ in NSEC and RRSIG).
#              What ldns prints it reads as the same records.
# Behaviour:   owner: ldns reads the escaped name, but prints the @ bare, and takes each owner whose first character is
#              a bare @ for the origin, also @x and @x.example. (BIND and NSD: the label @x).
#              RDATA: in the types below ldns takes a name whose first label is exactly @ for the origin, even if the @
#              is escaped, more labels follow, or it is absolute: CNAME \@ and MX 1 \064.other.test. lead to the origin.
#              No warning, and it ends with 0. An @ elsewhere in a name does no harm.
# Consequence: records move to the apex when ldns reads its own text, and names in RDATA become the origin at once.
#              ldns-signzone signs the altered RDATA, so that ldns-verify-zone and dnssec-verify accept it; and
#              ldns-verify-zone finds a bogus signature in zones that dnssec-verify accepts, signed by BIND or, just
#              before, by ldns-signzone. Whoever hands on text from ldns must escape @ in its names; in RDATA given to
#              ldns, of the spellings below, only \# (RFC 3597) keeps a first label @.
# Upstream:    both tests (rr.c) and the printing were the same in its develop branch of 2024-12-04 (310ae27b).
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
    if [ "$2" = "$3" ]; then printf '%s\n' "$1: $3"; else
        printf '%s\n' "$1: $3 (was: $2)"
        result=1
    fi
}
read_zone() { root/usr/bin/ldns-read-zone "$@"; }
# -k ignore: names with an @ are valid names, though no host names
compile_zone() { root/usr/bin/named-compilezone -i none -k ignore -n ignore -o "$2" example "$1" >"$2.log" 2>&1; }
nsd_zone() { root/usr/sbin/nsd-checkzone "$@" 2>/dev/null; }
# zone RECORD: a zone with this record; one of type SOA takes the place of its SOA
zone() {
    # shellcheck disable=SC2016 # directives
    printf '$ORIGIN example.\n$TTL 3600\n'
    case $1 in '@ SOA'*) ;; *) echo '@ SOA ns admin 1 3600 600 86400 300' ;; esac
    printf '%s\n' "$1" '@ NS ns' 'ns A 192.0.2.1'
}
# moved FILE: is the record of the zone of this text at the apex?
moved() { grep -q "^example\.$(printf '\t').*192\.0\.2\.9" "$1"; }

read_zone -v | sed -n 's/^.*ldns version \(.*\))$/version: ldns \1/p'
root/usr/bin/named-compilezone -v | sed 's/^/version: BIND /'

# 1. Owners, escaped: does the text of ldns say the same?
total=0 peers=0 bare=0 in_bind=0 in_nsd=0 origin=0 bind_to_ldns=0
while IFS= read -r record; do
    total=$((total + 1))
    zone "$record" >in.zone
    compile_zone in.zone bind.zone
    nsd_zone -p example in.zone >nsd.zone
    compile_zone nsd.zone again.zone
    if cmp -s bind.zone again.zone && grep -q '^\\@.*192\.0\.2\.9' bind.zone; then peers=$((peers + 1)); fi
    read_zone in.zone >ldns.zone
    if grep -q '^@.*192\.0\.2\.9' ldns.zone; then bare=$((bare + 1)); fi
    # what ldns wrote
    if compile_zone ldns.zone again.zone && cmp -s bind.zone again.zone; then in_bind=$((in_bind + 1)); fi
    if nsd_zone example ldns.zone >again.zone; then in_nsd=$((in_nsd + 1)); fi
    read_zone ldns.zone >again.zone
    if moved again.zone; then origin=$((origin + 1)); fi
    # what BIND wrote
    read_zone bind.zone >again.zone
    if grep -q '^@.*192\.0\.2\.9' again.zone; then bind_to_ldns=$((bind_to_ldns + 1)); fi
done <<'EOF'
\@ A 192.0.2.9
\064 A 192.0.2.9
\@.x A 192.0.2.9
\@.example. A 192.0.2.9
\@x A 192.0.2.9
\064x A 192.0.2.9
\@\@ A 192.0.2.9
\@x.example. A 192.0.2.9
\@home._http._tcp TXT "path=192.0.2.9"
EOF
expect "owners that begin with an escaped @" 9 $total
expect "read as that name by BIND and NSD alike" 9 $peers
expect "read as that name by ldns, printed bare" 9 $bare
expect "BIND's text read by ldns as that name" 9 $bind_to_ldns
expect "ldns's text read by BIND as that name" 9 $in_bind
expect "ldns's text read by NSD (not with a label @)" 5 $in_nsd
expect "ldns's text read by ldns as the origin" 9 $origin
zone '\@x A 192.0.2.9' >in.zone
read_zone in.zone >ldns.zone
read_zone ldns.zone >again.zone
for file in ldns again; do grep '192\.0\.2\.9' $file.zone | tr '\t' ' ' | sed "s/^/$file: /"; done

# 2. Owners, bare
total=0 in_bind=0 in_nsd=0 origin=0
for owner in x @ x.example.; do
    total=$((total + 1))
    zone "@$owner A 192.0.2.9" >in.zone
    zone "\\064$owner A 192.0.2.9" >escaped.zone
    compile_zone in.zone left
    compile_zone escaped.zone right
    if cmp -s left right; then in_bind=$((in_bind + 1)); fi
    nsd_zone -p example in.zone >left
    nsd_zone -p example escaped.zone >right
    if cmp -s left right; then in_nsd=$((in_nsd + 1)); fi
    read_zone in.zone >ldns.zone
    if moved ldns.zone; then origin=$((origin + 1)); fi
done
expect "owners with more after a bare @" 3 $total
expect "read as with \\064 by BIND" 3 $in_bind
expect "read as with \\064 by NSD" 3 $in_nsd
expect "read as the origin by ldns" 3 $origin
for owner in 'x\@' 'x.\@'; do
    zone "$owner A 192.0.2.9" >in.zone
    read_zone in.zone >ldns.zone
    read_zone ldns.zone >again.zone
    if cmp -s ldns.zone again.zone && ! moved again.zone; then same=yes; else same=no; fi
    expect "owner $owner: ldns's text read by ldns as the same" yes $same
done

# 3. RDATA: one name \@ in one record
total=0 in_bind=0 in_nsd=0 origin=0 bind_to_ldns=0
while IFS= read -r record; do
    total=$((total + 1))
    zone "$record" >in.zone
    sed 's/\\@/@/' in.zone >free.zone
    compile_zone in.zone bind.zone
    if grep -q '[[:space:]]\\@\.example\.' bind.zone; then in_bind=$((in_bind + 1)); fi
    nsd_zone -p example in.zone >nsd.zone
    if grep -q '[[:space:]]\\064\.example\.' nsd.zone; then in_nsd=$((in_nsd + 1)); fi
    read_zone free.zone >right
    read_zone in.zone >left
    if cmp -s left right; then origin=$((origin + 1)); fi
    read_zone -z bind.zone >left
    read_zone -z free.zone >right
    if cmp -s left right; then bind_to_ldns=$((bind_to_ldns + 1)); fi
done <<'EOF'
@ SOA \@ admin 1 3600 600 86400 300
@ SOA ns \@ 1 3600 600 86400 300
n NS \@
n CNAME \@
n DNAME \@
n PTR \@
n MX 10 \@
n AFSDB 1 \@
n RT 1 \@
n KX 1 \@
n SRV 1 2 3 \@
n NAPTR 1 2 "s" "x" "" \@
n RP \@ .
n RP . \@
n MINFO \@ .
n MINFO . \@
n PX 1 \@ .
n PX 1 . \@
n MB \@
n MG \@
n MR \@
n LP 10 \@
n SVCB 1 \@
n HTTPS 1 \@
n NSEC \@ A
n RRSIG A 8 2 3600 20300101000000 20200101000000 1 \@ AAAA
EOF
expect "records with a name \\@ in RDATA" 26 $total
expect "read as that name by BIND" 26 $in_bind
expect "read and printed as that name by NSD (not NSEC and RRSIG)" 24 $in_nsd
expect "read by ldns as with a free-standing @" 26 $origin
expect "BIND's text read by ldns as with a free-standing @" 26 $bind_to_ldns

# 4. RDATA: what is read of CNAME NAME by BIND, by ldns, and by ldns of its own text?
target() { sed -n 's/^n\.example\..*CNAME[[:space:]]*//p' "$1"; }
while IFS='|' read -r name wanted; do
    zone "n CNAME $name" >in.zone
    compile_zone in.zone bind.zone
    read_zone in.zone >ldns.zone
    read_zone ldns.zone >again.zone
    got="$(target bind.zone) $(target ldns.zone) $(target again.zone)"
    expect "CNAME $name: BIND, ldns, ldns again" "$wanted" "$got"
done <<'EOF'
@|example. example. example.
\@|\@.example. example. example.
\064|\@.example. example. example.
\@.x|\@.x.example. example. example.
\@.example.|\@.example. example. example.
\@.other.test.|\@.other.test. example. example.
\# 11 0140076578616d706c6500|\@.example. @.example. example.
\@x|\@x.example. @x.example. @x.example.
x.\@|x.\@.example. x.@.example. x.@.example.
EOF

# 5. Signed zones: accepted by dnssec-verify and by ldns-verify-zone?
# verified FILE
verified() {
    if root/usr/bin/dnssec-verify -q -z -o example "$1" >verify.log 2>&1; then printf 'yes '; else printf 'no '; fi
    if root/usr/bin/ldns-verify-zone "$1" >verify.log 2>&1; then echo yes; else echo no; fi
}
key=$(root/usr/bin/ldns-keygen -a ECDSAP256SHA256 -k example)
mkdir keys
root/usr/bin/dnssec-keygen -q -f KSK -K keys -a ECDSAP256SHA256 example >keygen.log
while IFS='|' read -r record by_ldns by_bind; do
    zone "$record" >in.zone
    root/usr/bin/ldns-signzone -o example. -f signed.zone in.zone "$key"
    expect "$record, signed by ldns, accepted by BIND, ldns" "$by_ldns" "$(verified signed.zone)"
    case $record in
        '\@x '*)
            bogus=$(tr '\t' ' ' <verify.log | grep 'Bogus.* A$' || true)
            expect "ldns-verify-zone" 'Error: Bogus DNSSEC signature for example. A' "$bogus"
            ;;
        *CNAME*) expect "signed" example. "$(target signed.zone | grep '\.$')" ;;
        *MX*) expect "signed" '1 example.' "$(grep "IN$(printf '\t')MX" signed.zone | cut -f 5)" ;;
    esac
    root/usr/bin/dnssec-signzone -q -S -z -K keys -o example -f signed.zone in.zone >sign.log 2>&1
    expect "$record, signed by BIND, accepted by BIND, ldns" "$by_bind" "$(verified signed.zone)"
done <<'EOF'
x A 192.0.2.9|yes yes|yes yes
\@x A 192.0.2.9|yes no|yes yes
\@ A 192.0.2.9|yes no|yes no
n CNAME \@|yes yes|yes no
n MX 1 \064.other.test.|yes yes|yes no
n HTTPS 0 \@|yes yes|yes no
EOF

if [ $result -eq 0 ]; then echo "as described"; else echo "the behaviour has changed"; fi
exit $result
