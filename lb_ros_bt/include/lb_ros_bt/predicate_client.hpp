// The client that all nodes of a tree share: states, and waits by the action wait_for.
#ifndef LB_ROS_BT__PREDICATE_CLIENT_HPP_
#define LB_ROS_BT__PREDICATE_CLIENT_HPP_

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "behaviortree_cpp/tree_node.h"
#include "lb_ros/action/wait_for_predicate.hpp"
#include "lb_ros/msg/predicate_states.hpp"
#include "rclcpp/rclcpp.hpp"
#include "rclcpp_action/rclcpp_action.hpp"

#include "lb_ros_bt/predicate_states.hpp"

namespace lb_ros_bt
{

/// A wait that was sent; its fields are set while `PredicateClient::update` runs.
struct Wait
{
  using Action = lb_ros::action::WaitForPredicate;
  using Handle = rclcpp_action::ClientGoalHandle<Action>;

  Handle::SharedPtr handle;
  std::optional<Action::Result> result;
  float probability = 0.5F;
  bool is_rejected = false;
  bool is_cancelled = false;
  std::size_t losses = 0;  ///< Of the client when the wait was sent.
};

/// Listens only while a tree is ticked: every node calls `update` at the start of its tick.
///
/// It never waits. Thread-safe, so that several trees may share a node.
class PredicateClient
{
public:
  /// The client of a node and a namespace, shared by all that hold it.
  static std::shared_ptr<PredicateClient> shared(
    const rclcpp::Node::SharedPtr & node, const std::string & name_space);

  /// The client for a tree node: of the rclcpp node at `node` of the blackboard, as in nav2.
  ///
  /// Throws BT::RuntimeError where there is none.
  static std::shared_ptr<PredicateClient> of(const BT::TreeNode & tree_node);

  PredicateClient(const rclcpp::Node::SharedPtr & node, const std::string & name_space);

  /// Receive what has arrived.
  void update();

  /// The states; a copy of what concerns one predicate would hide that the node has died.
  Verdict condition(
    const std::string & predicate, State wanted, BT::NodeStatus unknown) const;
  std::optional<Status> find(const std::string & predicate) const;
  bool heard() const;
  std::string lost() const;

  bool can_wait() const {return action_->action_server_is_ready();}

  /// Send a wait; the goal fails, at the node, `timeout_s` seconds of the node's clock later.
  std::shared_ptr<Wait> send(const Wait::Action::Goal & goal);

  /// End a wait, also at the node.
  void cancel(const std::shared_ptr<Wait> & wait);

  /// A copy of what has become of a wait.
  Wait look(const std::shared_ptr<Wait> & wait) const;

  /// How many nodes that publish states have stopped or died so far.
  std::size_t losses() const;

private:
  void subscribe(const std::string & topic);
  void store(const lb_ros::msg::PredicateStates & message);
  void change_liveliness(int alive, int alive_change, int not_alive_change);
  void look_at_graph();

  rclcpp::Node::SharedPtr node_;
  rclcpp::CallbackGroup::SharedPtr group_;
  rclcpp::executors::SingleThreadedExecutor executor_;
  rclcpp::Subscription<lb_ros::msg::PredicateStates>::SharedPtr subscription_;
  rclcpp_action::Client<Wait::Action>::SharedPtr action_;
  bool has_liveliness_ = true;
  PredicateStates states_;
  std::size_t losses_ = 0;
  mutable std::recursive_mutex mutex_;  // callbacks run within `update`, which holds it
};

}  // namespace lb_ros_bt

#endif  // LB_ROS_BT__PREDICATE_CLIENT_HPP_
