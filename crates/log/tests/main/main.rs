//! The simulated log obeys the contract; its faults and the publisher do what they say.

mod contract;
mod faults;
mod publisher;
