#include "lb_ros_bt/predicate_states.hpp"

#include <utility>

#include "behaviortree_cpp/exceptions.h"

namespace lb_ros_bt
{

State state_from_text(const std::string & text)
{
  for (const auto state : {State::kUnknown, State::kFalse, State::kTrue}) {
    if (text == text_of(state)) {
      return state;
    }
  }
  throw BT::RuntimeError("port state: '", text, "' is none of UNKNOWN, FALSE, TRUE");
}

std::string text_of(State state)
{
  switch (state) {
    case State::kTrue:
      return "TRUE";
    case State::kFalse:
      return "FALSE";
    default:
      return "UNKNOWN";
  }
}

BT::NodeStatus unknown_from_text(const std::string & text)
{
  if (text == "FAILURE") {
    return BT::NodeStatus::FAILURE;
  }
  if (text == "RUNNING") {
    return BT::NodeStatus::RUNNING;
  }
  throw BT::RuntimeError("port unknown: '", text, "' is none of FAILURE, RUNNING");
}

void PredicateStates::store(Map states)
{
  states_ = std::move(states);
  heard_ = true;
  lost_.clear();
}

void PredicateStates::lose(const std::string & reason)
{
  states_.clear();
  heard_ = false;
  lost_ = reason;
}

std::optional<Status> PredicateStates::find(const std::string & predicate) const
{
  const auto found = states_.find(predicate);
  return found == states_.end() ? std::nullopt : std::optional<Status>(found->second);
}

Verdict PredicateStates::condition(
  const std::string & predicate, State wanted, BT::NodeStatus unknown) const
{
  if (!lost_.empty()) {
    return {BT::NodeStatus::FAILURE, lost_};
  }
  if (!heard_) {
    return {unknown, "no states received so far; is bringup running?"};
  }
  const auto found = find(predicate);
  if (!found) {
    return {BT::NodeStatus::FAILURE, "no predicate '" + predicate + "' is scored"};
  }
  const auto line = predicate + " is " + text_of(found->state) + ": " + found->reason;
  if (found->state == wanted) {
    return {BT::NodeStatus::SUCCESS, line};
  }
  return {found->state == State::kUnknown ? unknown : BT::NodeStatus::FAILURE, line};
}

}  // namespace lb_ros_bt
