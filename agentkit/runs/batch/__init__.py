"""Many runs: inputs in, outcomes out, with a journal that lets a batch go on where it stopped.

`batch` runs inputs concurrently, `journal` keeps what they came to, `outcomes` describes it, `progress` counts, and
`key_table` remembers keys in little memory.

May import what `runs` may. A field of the journal goes to `journal`, with the old lines still readable.
"""
