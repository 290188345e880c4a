//! The container's network: devices made by the monitor through netlink, configured by the child,
//! queried by entering the network namespace in a thread.

mod phys;
mod proxy;
pub mod query;
pub mod setup;
mod stacked;
mod veth;
