#ifndef STUB53_COPENSSL_SHIM_H
#define STUB53_COPENSSL_SHIM_H

// libcrypto, which makes the local certificates, is a dependency of libldns anyway.
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#endif
