//! Integration tests of `vigie-streams`.

#[cfg(test)]
mod describe;
#[cfg(test)]
mod joins;
#[cfg(test)]
mod page_count;
#[cfg(test)]
mod processors;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod running;
#[cfg(test)]
mod stateless;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod windows;
