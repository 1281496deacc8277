/** Sends SIGKILL to a process by number. Here because only core may touch `process`; used by runtime/docker/exec. */

/** False when there is no such process any more. */
export function killProcess(pid: number): boolean {
  try {
    process.kill(pid, "SIGKILL");
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}
