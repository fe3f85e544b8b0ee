// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The table of expectations. ctnat has no helpers that would expect flows, so it is always empty. */
import { OperationError, told } from './failure.js';
import type { Request } from './request.js';
import type { Session, Status } from './session.js';
import { untilSignal } from './signals.js';

export async function expectCommand({ command }: Request, session: Session): Promise<Status> {
  switch (command) {
    case 'L':
      await session.tell(told('0 expectations have been shown.'));
      return 0;
    case 'C':
      await session.write('0\n');
      return 0;
    case 'F':
      await session.tell(told('expectation table has been emptied.'));
      return 0;
    case 'E':
      await untilSignal(session);
      await session.tell(told('0 expectation events have been shown.'));
      return 0;
    case 'I':
      throw new OperationError('master conntrack not found');
    default:
      throw new OperationError('No such file or directory');
  }
}
