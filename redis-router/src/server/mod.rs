//! The servers, as the data path meets them: who we are to them, how a connection is opened and logged in. Kind: wiring.

mod dial;
mod identity;
mod login;
mod scripts;

pub use dial::{Dial, Leasehold, Purpose};
pub use identity::Identity;
pub use login::{Greeting, LoginError};
pub use scripts::Scripts;
