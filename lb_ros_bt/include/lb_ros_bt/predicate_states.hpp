// The states of predicates as last received, and what they mean for a tree. No ROS in here.
#ifndef LB_ROS_BT__PREDICATE_STATES_HPP_
#define LB_ROS_BT__PREDICATE_STATES_HPP_

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "behaviortree_cpp/basic_types.h"

namespace lb_ros_bt
{

/// The numbers of lb_ros/msg/PredicateState.
enum class State : std::uint8_t { kUnknown = 0, kFalse = 1, kTrue = 2 };

/// UNKNOWN, FALSE or TRUE. Throws BT::RuntimeError for any other text.
State state_from_text(const std::string & text);
std::string text_of(State state);

/// What a condition returns for UNKNOWN: FAILURE or RUNNING. Throws BT::RuntimeError otherwise.
BT::NodeStatus unknown_from_text(const std::string & text);

struct Status
{
  State state = State::kUnknown;
  float probability = 0.5F;
  std::int64_t since_ns = 0;  ///< When the state began, by the nodes' clock.
  std::string reason;
};

/// The status of a tree node, with the reason.
struct Verdict
{
  BT::NodeStatus status;
  std::string reason;
};

/// The states of all predicates by name. Not thread-safe.
class PredicateStates
{
public:
  using Map = std::unordered_map<std::string, Status>;

  /// Replace all states.
  void store(Map states);

  /// The node that published them stopped or died: nothing is known until it publishes again.
  void lose(const std::string & reason);

  /// The node is alive again; its states have yet to arrive.
  void find_again() {lost_.clear();}

  bool heard() const {return heard_;}
  const std::string & lost() const {return lost_;}
  std::optional<Status> find(const std::string & predicate) const;

  /// What a condition returns.
  ///
  /// FAILURE where the node has died or does not score the predicate; `unknown` where the state is
  /// UNKNOWN (unless that is `wanted`) and before the first states have arrived.
  Verdict condition(
    const std::string & predicate, State wanted, BT::NodeStatus unknown) const;

private:
  Map states_;
  bool heard_ = false;
  std::string lost_;
};

}  // namespace lb_ros_bt

#endif  // LB_ROS_BT__PREDICATE_STATES_HPP_
