// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { FOLLOWED_VERSION } from './failure.js';

/** What `-h` prints. */
export const HELP = `ctnat's table of flows through the commands of conntrack(8) ${FOLLOWED_VERSION}
Usage: ctnat conntrack COMMAND [TABLE] [OPTION...]

Commands:
  -L, --dump        show flows                   -I, --create  make a flow
  -G, --get         show one flow                -A, --add     make a flow unless there is one
  -D, --delete      delete flows                 -U, --update  change flows
  -F, --flush       delete all flows             -C, --count   count flows
  -E, --event       show changes as they happen  -S, --stats   show counters of each CPU
  -R, --load-file   do the commands in a file, - for standard input; the only word before the file
  -V, --version     show the release that is followed

Tables: conntrack (unless said otherwise), expect, dying and unconfirmed, which are always empty

Which flows:
  -s, --src, --orig-src ADDRESS[/PREFIX]    source, original direction
  -d, --dst, --orig-dst ADDRESS[/PREFIX]    destination, original direction
  -r, --reply-src ADDRESS                   source, reply direction
  -q, --reply-dst ADDRESS                   destination, reply direction
      --mask-src MASK, --mask-dst MASK      which of the addresses' bits count
  -p, --proto, --protonum PROTOCOL          name or number
  -f, --family ipv4|ipv6
  -n, --src-nat [ADDRESS[:PORT]]            source is translated
  -g, --dst-nat [ADDRESS[:PORT]]            destination is translated
  -j, --any-nat [ADDRESS[:PORT]]            either
  -m, --mark MARK[/MASK]
  -u, --status STATUS[,...]                 ASSURED, SEEN_REPLY, FIXED_TIMEOUT, EXPECTED, UNSET
  -w, --zone ZONE                           also --orig-zone ZONE, --reply-zone ZONE
  -l, --label LABEL[,...]                   names of /etc/xtables/connlabel.conf
  -i, --id ID                               as -o id shows it

What becomes of them (-I, -A, -U):
  -t, --timeout SECONDS
  -m, -u, and with -I and -A -n, -g and -w as above; with -U a MARK's MASK are the bits that change
      --label-add LABEL[,...], --label-del [LABEL[,...]]

Output and events:
  -o, --output FORMAT[,...]                 extended, id, ktimestamp, labels; save, xml, json, jsonl;
                                            of events: timestamp, userspace
  -e, --event-mask ALL|NEW|UPDATES|DESTROY[,...]
  -b, --buffer-size BYTES                   taken and not needed
  -z, --zero                                counters begin anew once they are shown

With -p tcp, udp, udplite, sctp or dccp:
  --sport, --orig-port-src PORT, --dport, --orig-port-dst PORT, --reply-port-src PORT, --reply-port-dst PORT
  --state STATE (tcp, sctp, dccp), --orig-vtag TAG, --reply-vtag TAG (sctp), --role client|server (dccp)
With -p icmp or icmpv6 (--icmpv6-type and so on):
  --icmp-type TYPE, --icmp-code CODE, --icmp-id ID
With -p gre:
  --srckey, --orig-key-src KEY, --dstkey, --orig-key-dst KEY, --reply-key-src KEY, --reply-key-dst KEY

Of ctnat: --netns NAME|PATH, --pin-path FOLDER
`;
