#ifndef GATEWAY_METRICS_H
#define GATEWAY_METRICS_H

#include <stddef.h>

struct worker;

/*
 * What the workers count, summed, as Prometheus reads it (text format 0.0.4).  The text is the
 * caller's, to be freed with free().  Any worker may ask at any time.
 */
char *metrics_text(const struct worker *worker, size_t *bytes);

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

#endif
