/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The one entry of the settings map. */
#ifndef CTNAT_SETTINGS_H
#define CTNAT_SETTINGS_H

#include "maps.h"

inline_ struct settings *settings_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&settings, &zero);
}

/*
 * Whether nothing but tracking and translation is asked for, so that a new flow may take the short way
 * (birth.h): any other setting has a say in how one begins.
 */
inline_ bool settings_are_plain(const struct settings *s)
{
	const __u32 plain = SETTING_TCP_LOOSE | SETTING_TCP_LIBERAL | SETTING_TCP_IGNORE_INVALID_RST;

	return BIRTH_AT_ONCE && !(s->flags & ~plain);
}

#endif
