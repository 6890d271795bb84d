//! Session, sliding and unlimited windows, emission on close, suppression, co-grouping.

parity! {}
