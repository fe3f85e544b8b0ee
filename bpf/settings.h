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

#endif
