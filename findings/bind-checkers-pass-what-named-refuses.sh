#!/bin/sh
# Software:    BIND, Debian 12: bind9, bind9-utils, bind9-libs 1:9.18.49-1~deb12u3.
# Input:       a valid zone in which one name has 101 A records.
# Expected:    named-checkzone "checks the syntax and integrity of a zone file" and "performs the same checks as named does
#              when loading a zone"; named-checkconf -z "performs a test load of all zones of type primary". Both say what
#              named is going to say.
# Behaviour:   both say that the zone is fine and end with 0; named then refuses to load it ("too many records (must not
#              exceed 100)": max-records-per-type, 100 where nothing is set). With 100 records all three agree.
# Consequence: a deployment that tests its zones with either takes the zone off the air. stub53 check warns of it.
# Fails when the behaviour is another. Needs apt-get, dpkg and a mirror of Debian 12; listens nowhere; cleans up.
set -eu
version=1:9.18.49-1~deb12u3

folder=$(mktemp -d)
named=
end() {
    [ -z "$named" ] || kill "$named" 2>/dev/null || true
    rm -rf "$folder"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$folder"

packages="bind9=$version bind9-utils=$version bind9-libs=$version"
for library in libcap2 libfstrm0 libgssapi-krb5-2 libicu72 libjemalloc2 libjson-c5 libkrb5-3 liblmdb0 libmaxminddb0 \
    libnghttp2-14 libprotobuf-c1 libuv1 libxml2; do
    dpkg -s "$library" >/dev/null 2>&1 || packages="$packages $library"
done
# shellcheck disable=SC2086 # a list
apt-get download -q -q $packages 2>/dev/null
for package in *.deb; do dpkg -x "$package" root; done
LD_LIBRARY_PATH=$(find "$folder/root" -name '*.so*' -printf '%h\n' | sort -u | paste -s -d :)
export LD_LIBRARY_PATH

for count in 100 101; do
    {
        printf '$TTL 3600\n@ SOA ns admin 1 3600 600 86400 300\n@ NS ns\nns A 192.0.2.1\n'
        i=0
        while [ $i -lt $count ]; do
            i=$((i + 1))
            echo "www A 192.0.2.$i"
        done
    } >"$count.zone"
done
cat >named.conf <<EOF
options {
    directory "$folder"; listen-on { none; }; listen-on-v6 { none; }; recursion no;
    pid-file none; session-keyfile none; managed-keys-directory "$folder";
};
controls { };
zone "100.test" { type primary; file "100.zone"; };
zone "101.test" { type primary; file "101.zone"; };
EOF

root/usr/bin/named-checkzone -v | sed 's/^/version: /'
result=0
for count in 100 101; do
    if root/usr/bin/named-checkzone "$count.test" "$count.zone" >checkzone.log; then said=OK; else said=refused; fi
    echo "named-checkzone, $count records: $said"
    [ $said = OK ] || result=1
done
if root/usr/bin/named-checkconf -z named.conf >checkconf.log; then said=OK; else said=refused; fi
echo "named-checkconf -z: $said"
[ $said = OK ] || result=1

root/usr/sbin/named -g -n 1 -c "$folder/named.conf" >named.log 2>&1 &
named=$!
i=0
until grep -q 'all zones loaded\|running$' named.log || [ $i -eq 300 ]; do
    i=$((i + 1))
    sleep 0.1
done
for count in 100 101; do
    grep "zone $count.test/IN: loaded\|a.*$count.test/A.*too many\|$count.test/IN: not loaded" named.log |
        sed 's/^[^ ]* [^ ]* /named: /'
done
grep -q 'zone 100.test/IN: loaded serial 1' named.log || result=1
grep -q '101.test.*too many records' named.log || result=1
grep -q 'zone 101.test/IN: not loaded due to errors' named.log || result=1

if [ $result -eq 0 ]; then echo "as described"; else echo "the behaviour has changed"; fi
exit $result
