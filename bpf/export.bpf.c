// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Brings every shared type into BTF for the TypeScript generator; built, never loaded.
 * Clang drops structs and enums that nothing refers to: an unused global pointer to each keeps it.
 * A type missing here that no map holds is missing in src/generated/.
 */
#include "calls.h"

#define EXPORT(kind, name) kind name *export_##kind##_##name

/* Constants of unnamed enums and macros leave no trace in BTF: a named enum of one constant carries each. */
#define EXPORT_CONST(name)                                                                                   \
	enum export_const_##name{export_value_##name = name};                                                \
	enum export_const_##name *export_const_##name

EXPORT(enum, call);
EXPORT(enum, counter);
EXPORT(enum, ct_dir);
EXPORT(enum, ct_sctp_state);
EXPORT(enum, ct_status);
EXPORT(enum, ct_tcp_state);
EXPORT(enum, ct_timeout);
EXPORT(enum, edit_fields);
EXPORT(enum, edit_op);
EXPORT(enum, edit_result);
EXPORT(enum, event_cause);
EXPORT(enum, event_limits);
EXPORT(enum, event_type);
EXPORT(enum, flow_flags);
EXPORT(enum, flow_lock);
EXPORT(enum, hook_dir);
EXPORT(enum, icmp_kind);
EXPORT(enum, iface_filtering);
EXPORT(enum, iface_flags);
EXPORT(enum, key_flags);
EXPORT(enum, layout);
EXPORT(enum, metric_extra);
EXPORT(enum, nat_filtering);
EXPORT(enum, nat_limit);
EXPORT(enum, nat_mapping_mode);
EXPORT(enum, nat_rule_flags);
EXPORT(enum, nat_rule_kind);
EXPORT(enum, nat_type);
EXPORT(enum, reason);
EXPORT(enum, settings_flags);
EXPORT(enum, sweep_mode);
EXPORT(enum, track_rule_kind);
EXPORT(enum, tuple_form);
EXPORT(enum, forward_port_flags);

EXPORT(struct, edit_request);
EXPORT(struct, event);
EXPORT(struct, event_allowance);
EXPORT(struct, event_count);
EXPORT(struct, event_reader);
EXPORT(struct, flow);
EXPORT(struct, flow4);
EXPORT(struct, flow6);
EXPORT(struct, flow_count);
EXPORT(struct, flow_extra);
EXPORT(struct, iface);
EXPORT(struct, label_key);
EXPORT(struct, label_set);
EXPORT(struct, metric);
EXPORT(struct, nat_rule);
EXPORT(struct, pool_entry);
EXPORT(struct, sctp_track);
EXPORT(struct, settings);
EXPORT(struct, sweep_request);
EXPORT(struct, subscriber);
EXPORT(struct, subscriber_key);
EXPORT(struct, tcp_sender);
EXPORT(struct, tcp_track);
EXPORT(struct, tuple4);
EXPORT(struct, tuple4_key);
EXPORT(struct, tuple6);
EXPORT(struct, tuple6_key);
EXPORT(struct, tuple_ref);
EXPORT(struct, forward_port);

EXPORT_CONST(IFACE_PORT_RANGES);
EXPORT_CONST(LIMIT_TOKEN_SHIFT);
EXPORT_CONST(MSS_OF_PATH);
EXPORT_CONST(NAT_RETRIES_BUCKETS);
EXPORT_CONST(NAT_RULES_PER_BANK);
EXPORT_CONST(TRACK_RULES_MAX);
EXPORT_CONST(POOL_ENTRIES_PER_BANK);
EXPORT_CONST(FORWARD_PORTS_MAX);
