#ifndef STUB53_CLDNS_SHIM_H
#define STUB53_CLDNS_SHIM_H

// libldns's headers name each other's types without including them: only the whole, in its own order, compiles.
// It brings OpenSSL's headers with it, which libldns-dev depends on.
#include <ldns/ldns.h>

#endif
