// The wire of execd's metrics (contract: execd.md 9.1). Everything is what the sandbox may use and uses, not the machine.

/** `GET /metrics`, and each sample of `GET /metrics/watch`. */
export type Metrics = {
  /** How many CPUs' worth of time the sandbox may use: 0.5 is half of one. */
  cpu_count: number
  /** Of what it may use, from 0 to 100. */
  cpu_used_pct: number
  mem_total_mib: number
  /** Without the file pages that the kernel would give up first. */
  mem_used_mib: number
  /** Milliseconds since 1970. */
  timestamp: number

  // The names that some readers of the stream expect for the same values.
  cpu_used_percentage: number
  memory_total_in_mib: number
  memory_used_in_mib: number

  // Additions. Each is absent where the system does not tell.
  /** The file system of the working directory; on a shared disk the free part is what others leave. */
  disk_total_mib?: number
  disk_used_mib?: number
  disk_free_mib?: number
  /** Since the sandbox's network was made, without the loopback. */
  network_received_bytes?: number
  network_sent_bytes?: number
  process_count?: number
  /** How many processes the kernel has ended because memory ran out. */
  oom_kills?: number
}
