import { getSystemErrorName } from 'node:util';

/** "ENOTTY" for 25. Node knows the names that libuv has; another number is said as it is. */
export function errnoName(errno: number): string {
  try {
    const name = getSystemErrorName(-errno);
    return name.startsWith('Unknown') ? `errno ${errno}` : name;
  } catch {
    return `errno ${errno}`;
  }
}
