"""The computer that the product runs on, behind ports: its disk, threads, processes, time and chance."""
