//! The embedded log obeys the contract, survives being killed at any moment, and says what is wrong with its folder.

mod contract;
mod crash;
mod dice;
mod size;
mod trouble;
