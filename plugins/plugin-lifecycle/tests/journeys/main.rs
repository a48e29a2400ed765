//! The stock journeys, every branch from entry to end.

mod activation;
mod catalogue;
mod churn;
mod conformance;
mod conversion;
mod deployment;
mod feedback;
mod reactivation;
mod referral;
mod retention;
mod walk;
