#ifndef GATEWAY_PRESENCE_H
#define GATEWAY_PRESENCE_H

#include "gateway/socket.h"
#include "gateway/table.h"

/*
 * Presence by user: all sockets of a user in a namespace are one.  A user is online from the first
 * of them until `gateway.presence_grace` after the last; a page that is loaded anew makes no event.
 * Each user of a namespace has one home worker, which is told of every socket that comes or goes
 * and decides.  Only namespaces whose rules have a `when user …` pay for it.
 */

/* Tell the home worker what has changed for this socket: it came, left, got an identity, or the
 * rules are new.  `is_silent`: it was there before anybody asked, which is no event. */
void presence_update(struct socket *socket, bool is_silent);

/* For the worker's timer list: the grace is over. */
void presence_overdue(struct timer *grace);

/* Forget the users who were in their grace. */
void presence_fini(struct worker *worker);

#endif
