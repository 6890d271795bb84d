//! Integration tests of `vigie-streams`.

mod describe;
mod joins;
mod page_count;
mod processors;
mod running;
mod stateless;
mod tables;
mod windows;
