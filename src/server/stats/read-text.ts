/** Text of a file; undefined when it cannot be read. What statistics are read through, so that tests can make it up. */
export type ReadText = (path: string) => string | undefined;
