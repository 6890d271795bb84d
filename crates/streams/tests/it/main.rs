//! Integration tests of `vigie-streams`.

#[cfg(test)]
mod cogroup;
#[cfg(test)]
mod decoders;
#[cfg(test)]
mod describe;
#[cfg(test)]
mod foreign_keys;
#[cfg(test)]
mod global_tables;
#[cfg(test)]
mod joins;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod optimized;
#[cfg(test)]
mod page_count;
#[cfg(test)]
mod processors;
#[cfg(test)]
mod record_cache;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod running;
#[cfg(test)]
mod sessions;
#[cfg(test)]
mod sliding;
#[cfg(test)]
mod standbys;
#[cfg(test)]
mod stateless;
#[cfg(test)]
mod stores;
#[cfg(test)]
mod stream_joins;
#[cfg(test)]
mod suppress;
#[cfg(test)]
mod table_joins;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod versioned;
#[cfg(test)]
mod windows;
#[cfg(test)]
mod windows_running;
