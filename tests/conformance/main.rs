//! Behaviour that somebody else defines, pinned case by case: each table cites its section.

mod hyper;
