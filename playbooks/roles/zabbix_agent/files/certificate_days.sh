#!/bin/sh
# Days until the first of this host's certificates ends; 9999 when it has none.
set -eu
least=9999
now=$(date +%s)
for file in /etc/yiyun/tls/*.crt; do
    [ -r "$file" ] || continue
    end=$(openssl x509 -in "$file" -noout -enddate)
    days=$((($(date -d "${end#notAfter=}" +%s) - now) / 86400))
    [ "$days" -ge "$least" ] || least=$days
done
echo "$least"
