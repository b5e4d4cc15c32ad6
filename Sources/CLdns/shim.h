#ifndef STUB53_CLDNS_SHIM_H
#define STUB53_CLDNS_SHIM_H

// libldns's headers use each other's types without including them: only ldns.h includes all in a working order. It also
// includes OpenSSL's headers, on which libldns-dev depends.
#include <ldns/ldns.h>

#endif
