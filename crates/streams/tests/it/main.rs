//! Integration tests of `vigie-streams`.

mod describe;
mod page_count;
