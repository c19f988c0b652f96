//! Speaks: CUPS, the configuration and update protocol of LoRa Basics Station.

pub mod answer;
pub mod request;
pub mod stack_error;
